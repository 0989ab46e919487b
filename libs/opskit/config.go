package opskit

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

// LoadOptions says where a configuration comes from. The zero value reads the
// process's arguments' companions: its environment with the prefix PARLEY, and
// the YAML file named by --config or PARLEY_CONFIG.
type LoadOptions struct {
	Name        string // program name in help; "" = the binary's
	Description string // one sentence shown by --help

	EnvPrefix string   // without the underscore; "" = PARLEY
	Environ   []string // as os.Environ gives it; nil = os.Environ()
	// KnownEnv reports variables with the prefix that belong to another program
	// and are not mistakes; nil = none. What Kubernetes sets for services is
	// known without it.
	KnownEnv func(name string) bool

	Stdout io.Writer // where --help goes; nil = os.Stdout
	// Parser are further options of the command-line parser, such as kong.Vars.
	Parser []kong.Option
}

// Load fills target from, in rising order of precedence, the default tags, the
// YAML file, the environment and args (without the program's name). Values that
// target held before are lost. target is a pointer to a struct with kong's tags
// (help, default, enum, required, name, embed, prefix, cmd, env, …); T may have
// commands.
//
// A flag --room-limit has the variable PARLEY_ROOM_LIMIT and the file keys
// room_limit, room-limit or room: {limit: …}. A Secret is also read from the
// file named by PARLEY_…_FILE. Unknown arguments, variables and keys are errors
// that suggest the nearest known name.
//
// Then every Validate() error method of target and of the structs nested in it
// is called. All problems found are returned together in one *ConfigError.
// After --help has been printed the error is ErrHelp.
//
// The returned context runs the selected command of a target with commands.
func Load[T any](target *T, args []string, opts LoadOptions) (*kong.Context, error) {
	l, err := newLoader(target, opts)
	if err != nil {
		return nil, err
	}
	return l.load(args)
}

// ConfigError is everything that is wrong with a configuration.
type ConfigError struct{ Problems []error }

// Error lists the problems, one a line when there are several.
func (e *ConfigError) Error() string {
	if len(e.Problems) == 1 {
		return "configuration: " + e.Problems[0].Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "configuration has %d problems:", len(e.Problems))
	for _, p := range e.Problems {
		fmt.Fprintf(&b, "\n  - %s", strings.ReplaceAll(p.Error(), "\n", "\n    "))
	}
	return b.String()
}

// Unwrap gives errors.Is and errors.As the single problems.
func (e *ConfigError) Unwrap() []error { return e.Problems }

// configFlag is the one flag the loader adds.
type configFlag struct {
	Config string `placeholder:"FILE" help:"YAML file with settings; the environment and flags override it."`
}

// loader is one parse: a kong model, and the sources that are checked against it.
type loader struct {
	opts   LoadOptions
	parser *kong.Kong
	target any
	file   *configFlag
	env    envSource
	yaml   fileSource
}

func newLoader(target any, opts LoadOptions) (*loader, error) {
	if opts.EnvPrefix == "" {
		opts.EnvPrefix = "PARLEY"
	}
	if opts.Environ == nil {
		opts.Environ = os.Environ()
	}
	if opts.Stdout == nil {
		opts.Stdout = os.Stdout
	}
	l := &loader{opts: opts, target: target, file: &configFlag{}}
	l.env = newEnvSource(opts)
	options := []kong.Option{
		kong.Description(opts.Description),
		kong.Writers(opts.Stdout, io.Discard),
		kong.Embed(l.file),
		kong.Exit(func(int) {}), // only main may end the process
		kong.ValueFormatter(l.env.describe),
		// The last resolver wins, so the environment beats the file.
		kong.Resolvers(&l.yaml, &l.env),
	}
	if opts.Name != "" {
		options = append(options, kong.Name(opts.Name))
	}
	parser, err := kong.New(target, append(options, opts.Parser...)...)
	if err != nil {
		return nil, fmt.Errorf("configuration struct %T: %w", target, err)
	}
	l.parser = parser
	l.env.adopt(allFlags(parser.Model.Node))
	return l, nil
}

func (l *loader) load(args []string) (*kong.Context, error) {
	flags := allFlags(l.parser.Model.Node)
	traced, good, problems := traceArgs(l.parser, args)
	if l.asksForHelp(traced) {
		// Whatever else is wrong with the arguments.
		if err := traced.PrintUsage(false); err != nil {
			return nil, fmt.Errorf("print help: %w", err)
		}
		return nil, ErrHelp
	}
	problems = append(problems, l.env.check(flags)...)
	problems = append(problems, l.yaml.open(l.configPath(traced), flags)...)
	if len(problems) > 0 {
		// What is wrong beside these, seen with their defaults in their place.
		_, _ = l.parser.Parse(good)
		problems = append(problems, missingFlags(traced, &l.env)...)
		problems = append(problems, validateTargets(l.target, traced)...)
		return nil, &ConfigError{Problems: dedupe(problems)}
	}
	parsed, err := l.parser.Parse(args)
	if err == nil {
		// Kong validates embedded structs only; the others' rules count too.
		problems = validateTargets(l.target, parsed)
	} else {
		problems = l.afterFailure(traced, err)
	}
	if len(problems) > 0 {
		return nil, &ConfigError{Problems: problems}
	}
	return parsed, nil
}

// afterFailure turns kong's first problem into all of the same stage.
func (l *loader) afterFailure(traced *kong.Context, err error) []error {
	problems := missingFlags(traced, &l.env)
	problems = append(problems, validateTargets(l.target, traced)...)
	if len(problems) == 0 {
		problems = []error{err}
	}
	return problems
}

func (l *loader) asksForHelp(traced *kong.Context) bool {
	for _, p := range traced.Path {
		if p.Flag != nil && p.Flag == l.parser.Model.HelpFlag {
			return true
		}
	}
	return false
}

// configPath is the file named by the flag, else by the environment.
func (l *loader) configPath(traced *kong.Context) string {
	for _, p := range traced.Path {
		if p.Flag != nil && p.Flag.Target.CanAddr() && p.Flag.Target.Addr().Interface() == any(&l.file.Config) {
			return traced.Value(p).String()
		}
	}
	return l.env.vars[l.opts.EnvPrefix+"_CONFIG"]
}

// allFlags lists the flags of a node and of all commands below it, without help.
func allFlags(node *kong.Node) []*kong.Flag {
	var flags []*kong.Flag
	for _, f := range node.Flags {
		if f.Name != "help" {
			flags = append(flags, f)
		}
	}
	for _, child := range node.Children {
		flags = append(flags, allFlags(child)...)
	}
	return flags
}
