package opskit

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"sort"
	"strings"

	"github.com/alecthomas/kong"
)

// fileSuffix marks the variable that names a file with a secret in it.
const fileSuffix = "_FILE"

// maxSecretFile bounds what is read of a secret's file.
const maxSecretFile = 1 << 20

// envSource resolves flags from the environment. Kong could do that itself, but
// then a configuration file would beat the environment: kong asks its resolvers
// after it has read the variables.
type envSource struct {
	prefix string
	known  func(string) bool
	vars   map[string]string
	order  []string // names in vars, sorted
	names  map[*kong.Value][]string
	bad    map[*kong.Value]bool // flags whose variable cannot be used
}

func newEnvSource(opts LoadOptions) envSource {
	s := envSource{prefix: opts.EnvPrefix + "_", known: opts.KnownEnv, vars: map[string]string{}, names: map[*kong.Value][]string{}, bad: map[*kong.Value]bool{}}
	for _, pair := range opts.Environ {
		if name, value, ok := strings.Cut(pair, "="); ok {
			s.vars[name] = value
			s.order = append(s.order, name)
		}
	}
	sort.Strings(s.order)
	return s
}

// adopt gives every flag its variable and takes kong's own handling away. An env
// tag replaces the derived name; env:"-" means none.
func (s *envSource) adopt(flags []*kong.Flag) {
	for _, flag := range flags {
		names := flag.Tag.Envs
		switch {
		case len(names) == 0:
			names = []string{s.prefix + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(flag.Name))}
		case names[0] == "-":
			names = nil
		}
		s.names[flag.Value] = names
		flag.Envs, flag.Tag.Envs = nil, nil
	}
}

// describe appends the variable to a flag's help.
func (s *envSource) describe(value *kong.Value) string {
	names := s.names[value]
	if len(names) == 0 {
		return value.Help
	}
	return strings.TrimSuffix(value.Help, ".") + " ($" + strings.Join(names, ", $") + ")."
}

// Validate is part of kong.Resolver; check has done the work with all problems.
func (s *envSource) Validate(*kong.Application) error { return nil }

// Resolve is part of kong.Resolver.
func (s *envSource) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if s.bad[flag.Value] {
		return nil, nil
	}
	value, _, err := s.lookup(flag)
	if err != nil || value == nil {
		return nil, err
	}
	return *value, nil
}

// lookup returns a flag's value and the variable it comes from, nil when unset.
func (s *envSource) lookup(flag *kong.Flag) (*string, string, error) {
	for _, name := range s.names[flag.Value] {
		value, set := s.vars[name]
		path, fileSet := "", false
		if isSecret(flag) {
			path, fileSet = s.vars[name+fileSuffix]
		}
		switch {
		case set && fileSet:
			return nil, name, fmt.Errorf("%s and %s are both set: keep one", name, name+fileSuffix)
		case set:
			return &value, name, nil
		case fileSet:
			content, err := readSecretFile(path)
			if err != nil {
				return nil, name + fileSuffix, fmt.Errorf("%s: %w", name+fileSuffix, err)
			}
			return &content, name + fileSuffix, nil
		}
	}
	return nil, "", nil
}

func isSecret(flag *kong.Flag) bool { return flag.Target.Type() == reflect.TypeFor[Secret]() }

// readSecretFile drops the one line end that editors and echo leave.
func readSecretFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	if info.Size() > maxSecretFile {
		return "", fmt.Errorf("read secret %s: %d bytes are more than the %d allowed", path, info.Size(), maxSecretFile)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	value := strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
	if value == "" {
		return "", fmt.Errorf("read secret %s: the file is empty", path)
	}
	return value, nil
}

// check decodes every variable that belongs to a flag and reports those with
// the prefix that belong to none.
func (s *envSource) check(flags []*kong.Flag) []error {
	var problems []error
	claimed := map[string]bool{}
	var known []string
	for _, flag := range flags {
		for _, name := range s.names[flag.Value] {
			if bare, ours := strings.CutPrefix(name, s.prefix); ours && !claimed[name] {
				known = append(known, bare)
			}
			claimed[name] = true
			if isSecret(flag) {
				claimed[name+fileSuffix] = true
			}
		}
		if err := s.checkFlag(flag); err != nil {
			s.bad[flag.Value] = true
			problems = append(problems, err)
		}
	}
	for _, name := range s.order {
		if strings.HasPrefix(name, s.prefix) && !claimed[name] && !s.isForeign(name) {
			problems = append(problems, s.unknown(name, known))
		}
	}
	return dedupe(problems)
}

// unknown compares without the prefix, which would make all names look alike.
func (s *envSource) unknown(name string, known []string) error {
	near := nearest(strings.TrimPrefix(name, s.prefix), known)
	if near == "" {
		return fmt.Errorf("unknown variable %s", name)
	}
	return fmt.Errorf("unknown variable %s: did you mean %q?", name, s.prefix+near)
}

func (s *envSource) checkFlag(flag *kong.Flag) error {
	value, source, err := s.lookup(flag)
	if err != nil || value == nil {
		return err
	}
	if *value == "" && flag.Target.Kind() != reflect.String && !isSecret(flag) {
		return fmt.Errorf("%s is set but empty", source)
	}
	if err := decodeFlag(flag, *value); err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	return nil
}

// Kubernetes gives every pod the addresses of the services in its namespace, and
// a service called parley-gateway yields PARLEY_GATEWAY_SERVICE_HOST and more.
func (s *envSource) isForeign(name string) bool {
	if s.known != nil && s.known(name) {
		return true
	}
	if strings.HasSuffix(name, "_PORT") && strings.Contains(s.vars[name], "://") {
		return true
	}
	return serviceLink().MatchString(name)
}

func serviceLink() *regexp.Regexp {
	return regexp.MustCompile(`_SERVICE_HOST$|_SERVICE_PORT(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$`)
}

// dedupe keeps the first of problems with the same text: commands share flags.
func dedupe(problems []error) []error {
	var unique []error
	seen := map[string]bool{}
	for _, p := range problems {
		if !seen[p.Error()] {
			seen[p.Error()] = true
			unique = append(unique, p)
		}
	}
	return unique
}
