package opskit

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"
)

// Setting is one row of a configuration reference.
type Setting struct {
	Command string // the command that has it; "" = all
	Flag    string // with the dashes
	Env     string // variable, "" = none; secrets also take it with _FILE
	Key     string // in the YAML file
	Type    string // "string", "duration", "list", …
	Default string // as it would be typed; "" = none
	Enum    []string
	Secret  bool
	Must    bool // no default, and the program does not start without it
	Help    string
}

// Settings lists what Load would accept for target, in the order of its fields.
// target is a pointer to the configuration struct; it is not changed.
func Settings(target any, opts LoadOptions) ([]Setting, error) {
	fresh := reflect.New(reflect.TypeOf(target).Elem()).Interface()
	l, err := newLoader(fresh, opts)
	if err != nil {
		return nil, err
	}
	return l.settings(l.parser.Model.Node, ""), nil
}

func (l *loader) settings(node *kong.Node, command string) []Setting {
	var rows []Setting
	for _, flag := range node.Flags {
		if flag.Name != "help" && !flag.Hidden {
			rows = append(rows, l.setting(flag, command))
		}
	}
	for _, child := range node.Children {
		if !child.Hidden {
			rows = append(rows, l.settings(child, strings.TrimSpace(command+" "+child.Name))...)
		}
	}
	return rows
}

func (l *loader) setting(flag *kong.Flag, command string) Setting {
	row := Setting{
		Command: command, Flag: "--" + flag.Name, Key: strings.ReplaceAll(flag.Name, "-", "_"),
		Type: typeName(flag), Default: flag.Default, Secret: isSecret(flag), Must: flag.Required, Help: flag.Help,
	}
	if flag.Name == "config" {
		row.Key = "" // a file cannot name another one
	}
	if names := l.env.names[flag.Value]; len(names) > 0 {
		row.Env = names[0]
	}
	if flag.Enum != "" {
		row.Enum = flag.EnumSlice()
	}
	return row
}

func typeName(flag *kong.Flag) string {
	switch t := flag.Target.Type(); {
	case isSecret(flag):
		return "secret"
	case t.String() == "time.Duration":
		return "duration"
	case flag.IsBool():
		return "flag"
	case t.Kind() == reflect.Slice:
		return "list"
	case t.Kind() == reflect.Map:
		return "map"
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Float64 && t.PkgPath() == "":
		return "number"
	default:
		return "string"
	}
}

// Reference renders settings as a Markdown table, for the generated pages of the
// documentation.
func Reference(settings []Setting) string {
	var b strings.Builder
	b.WriteString("| Flag | Environment | File key | Default | Meaning |\n|---|---|---|---|---|\n")
	for _, s := range settings {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n",
			code(strings.TrimSpace(s.Command+" "+s.Flag)), code(s.Env)+s.fileVariant(), code(s.Key), s.defaultCell(), cell(s.meaning()))
	}
	return b.String()
}

func (s Setting) fileVariant() string {
	if !s.Secret || s.Env == "" {
		return ""
	}
	return " or " + code(s.Env+fileSuffix)
}

func (s Setting) defaultCell() string {
	switch {
	case s.Must:
		return "required"
	case s.Default == "":
		return "–"
	default:
		return code(s.Default)
	}
}

func (s Setting) meaning() string {
	text := s.Help
	if len(s.Enum) > 0 && !strings.Contains(text, s.Enum[0]) {
		text += " One of " + strings.Join(s.Enum, ", ") + "."
	}
	return text + " (" + s.Type + ")"
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + cell(s) + "`"
}

// cell escapes what would end a table cell.
func cell(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "|", `\|`), "\n", " ")
}

// ApplyDefaults fills the fields of target that are zero from their default
// tags, for programs and tests that build a configuration in Go.
// Neither the environment nor Validate takes part.
func ApplyDefaults(target any) error {
	l, err := newLoader(target, LoadOptions{})
	if err != nil {
		return err
	}
	ctx, err := kong.Trace(l.parser, nil)
	if err != nil {
		return fmt.Errorf("defaults of %T: %w", target, err)
	}
	if err := ctx.ApplyDefaults(); err != nil {
		return fmt.Errorf("defaults of %T: %w", target, err)
	}
	return nil
}
