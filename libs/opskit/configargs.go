package opskit

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"
)

// traceArgs matches args with the model and collects every argument that does
// not fit. Kong stops at the first, so the offending argument is taken out and
// the rest tried again; what is left is good.
func traceArgs(parser *kong.Kong, args []string) (ctx *kong.Context, good []string, problems []error) {
	rest := append([]string(nil), args...)
	for {
		var err error
		ctx, err = kong.Trace(parser, rest)
		if err == nil {
			err = ctx.Error
		}
		if err == nil {
			return ctx, rest, append(problems, enumProblems(ctx)...)
		}
		problems = append(problems, err)
		at := len(rest) - len(ctx.Path[len(ctx.Path)-1].Remainder())
		if at < 0 || at >= len(rest) {
			return ctx, rest, problems
		}
		end := at + 1
		// What follows an unknown "--name" without "=" is most likely its value.
		if strings.HasPrefix(rest[at], "-") && !strings.Contains(rest[at], "=") && end < len(rest) && !strings.HasPrefix(rest[end], "-") {
			end++
		}
		rest = append(rest[:at:at], rest[end:]...)
	}
}

func enumProblems(ctx *kong.Context) []error {
	var problems []error
	for _, p := range ctx.Path {
		if p.Flag == nil {
			continue
		}
		if err := checkEnum(p.Flag.Value, ctx.Value(p)); err != nil {
			problems = append(problems, fmt.Errorf("--%s: %w", p.Flag.Name, err))
		}
	}
	return problems
}

// decodeFlag parses raw as the flag's type, leaving the flag itself alone.
func decodeFlag(flag *kong.Flag, raw string) error {
	target := reflect.New(flag.Target.Type()).Elem()
	if target.Kind() == reflect.Pointer {
		target.Set(reflect.New(target.Type().Elem()))
	}
	scan := kong.ScanFromTokens(kong.Token{Type: kong.FlagValueToken, Value: raw})
	if err := flag.Mapper.Decode(&kong.DecodeContext{Value: flag.Value, Scan: scan}, target); err != nil {
		return fmt.Errorf("decode %s value: %w", flag.Target.Type(), err)
	}
	return checkEnum(flag.Value, target)
}

func checkEnum(value *kong.Value, target reflect.Value) error {
	if value.Enum == "" {
		return nil
	}
	switch target.Kind() {
	case reflect.Slice, reflect.Array:
		for i := range target.Len() {
			if err := checkEnum(value, target.Index(i)); err != nil {
				return err
			}
		}
		return nil
	case reflect.Pointer:
		if target.IsNil() {
			return nil
		}
		return checkEnum(value, target.Elem())
	}
	got := fmt.Sprint(target.Interface())
	if value.EnumMap()[got] {
		return nil
	}
	return fmt.Errorf("must be one of %s, not %q%s", strings.Join(value.EnumSlice(), ", "), got, didYouMean(got, value.EnumSlice()))
}

// missingFlags names the required flags on the selected command's path that no
// source has set.
func missingFlags(ctx *kong.Context, env *envSource) []error {
	var problems []error
	for _, flag := range ctx.Flags() {
		if !flag.Required || flag.Set || env.bad[flag.Value] {
			continue
		}
		name := "--" + flag.Name
		if names := env.names[flag.Value]; len(names) > 0 {
			name = names[0] + " (or " + name + ")"
		}
		text := name + " is required"
		if flag.Tag.Help != "" { // as it was written, without the variable that --help adds
			text += ": " + flag.Tag.Help
		}
		problems = append(problems, errors.New(text))
	}
	return problems
}

// validateTargets calls Validate on the target, on the selected commands and on
// every exported struct nested in them, children first, and drops the repetition
// that arises when a parent calls its children's Validate itself.
func validateTargets(target any, ctx *kong.Context) []error {
	var problems []error
	seen := map[string]bool{}
	collect := func(v reflect.Value) {
		for _, p := range validate(v) {
			if !seen[p.Error()] {
				seen[p.Error()] = true
				problems = append(problems, p)
			}
		}
	}
	collect(reflect.ValueOf(target).Elem())
	for _, p := range ctx.Path {
		if p.Command != nil {
			collect(reflect.Indirect(p.Command.Target))
		}
	}
	return problems
}

func validate(v reflect.Value) []error {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct || !v.CanAddr() {
		return nil
	}
	var problems []error
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() || isCommand(field.Tag) {
			continue
		}
		problems = append(problems, validate(v.Field(i))...)
	}
	if val, ok := v.Addr().Interface().(interface{ Validate() error }); ok {
		problems = append(problems, flatten(val.Validate())...)
	}
	return problems
}

// isCommand is true for fields that are only valid when their command was
// selected, and for those that are none of the parser's business.
func isCommand(tag reflect.StructTag) bool {
	for _, key := range []string{"cmd", "arg"} {
		if _, ok := tag.Lookup(key); ok {
			return true
		}
	}
	return tag.Get("kong") == "-"
}

// flatten undoes errors.Join.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	// Only an outermost join is undone: inside a %w it has a prefix to keep.
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}
