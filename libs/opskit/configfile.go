package opskit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// maxConfigFile bounds what is read of a configuration file.
const maxConfigFile = 1 << 20

// fileSource resolves flags from a YAML file. Keys are flag names with "_" or
// "-"; a prefix that flags share may be written as a nested mapping.
type fileSource struct {
	path   string
	flags  map[string]*kong.Flag
	values map[string]fileValue
}

type fileValue struct {
	raw  string
	line int
}

// Validate is part of kong.Resolver; open has done the work with all problems.
func (s *fileSource) Validate(*kong.Application) error { return nil }

// Resolve is part of kong.Resolver.
func (s *fileSource) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if v, ok := s.values[flag.Name]; ok {
		return v.raw, nil
	}
	return nil, nil // kong's way to say "not set here"
}

// open reads and checks the file; an empty path is no file.
func (s *fileSource) open(path string, flags []*kong.Flag) []error {
	if path == "" {
		return nil
	}
	content, err := readConfigFile(path)
	if err != nil {
		return []error{fmt.Errorf("read configuration: %w", err)}
	}
	s.path, s.values, s.flags = path, map[string]fileValue{}, map[string]*kong.Flag{}
	for _, f := range flags {
		if f.Name != "config" { // a file cannot name another one
			s.flags[f.Name] = f
		}
	}
	return s.parse(content)
}

func readConfigFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err // names the operation and the path
	}
	defer func() { _ = f.Close() }() // opened for reading
	content, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(content) > maxConfigFile {
		return nil, fmt.Errorf("%s: more than %d bytes", path, maxConfigFile)
	}
	return content, nil
}

func (s *fileSource) parse(content []byte) []error {
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(content))
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil // an empty file sets nothing
	case err != nil:
		return []error{fmt.Errorf("%s: %w", s.path, err)}
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return []error{fmt.Errorf("%s: more than one YAML document", s.path)}
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		if root.Tag == "!!null" {
			return nil
		}
		return []error{s.at(root, errors.New("the file must be a mapping of settings"))}
	}
	return s.collect("", root)
}

func (s *fileSource) at(n *yaml.Node, err error) error {
	return fmt.Errorf("%s:%d: %w", s.path, n.Line, err)
}

func (s *fileSource) collect(prefix string, mapping *yaml.Node) []error {
	var problems []error
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], resolveAlias(mapping.Content[i+1])
		name := prefix + strings.ReplaceAll(key.Value, "_", "-")
		flag, known := s.flags[name]
		switch {
		case known:
			if err := s.set(flag, value); err != nil {
				problems = append(problems, s.at(key, fmt.Errorf("%s: %w", s.spell(name), err)))
			}
		case value.Kind == yaml.MappingNode && s.isPrefix(name+"-"):
			problems = append(problems, s.collect(name+"-", value)...)
		default:
			problems = append(problems, s.at(key, fmt.Errorf("unknown key %q%s", s.spell(name), didYouMean(s.spell(name), s.keys()))))
		}
	}
	return problems
}

func resolveAlias(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func (s *fileSource) set(flag *kong.Flag, value *yaml.Node) error {
	if earlier, twice := s.values[flag.Name]; twice {
		return fmt.Errorf("already set in line %d", earlier.line)
	}
	raw, err := flagText(flag, value)
	if err != nil {
		return err
	}
	if err := decodeFlag(flag, raw); err != nil {
		return err
	}
	s.values[flag.Name] = fileValue{raw: raw, line: value.Line}
	return nil
}

// flagText writes a YAML value the way it would be given as a flag.
func flagText(flag *kong.Flag, value *yaml.Node) (string, error) {
	switch value.Kind {
	case yaml.ScalarNode:
		if value.Tag == "!!null" {
			return "", errors.New("has no value")
		}
		return value.Value, nil
	case yaml.SequenceNode:
		if flag.Target.Kind() != reflect.Slice {
			return "", errors.New("is a list, but one value is wanted")
		}
		items, err := scalars(value.Content)
		if err != nil {
			return "", err
		}
		return kong.JoinEscaped(items, flag.Tag.Sep), nil
	case yaml.MappingNode:
		if flag.Target.Kind() != reflect.Map {
			return "", errors.New("is a mapping, but one value is wanted")
		}
		items, err := scalars(value.Content)
		if err != nil {
			return "", err
		}
		var pairs []string
		for i := 0; i+1 < len(items); i += 2 {
			pairs = append(pairs, items[i]+"="+items[i+1])
		}
		return kong.JoinEscaped(pairs, flag.Tag.MapSep), nil
	default:
		return "", errors.New("is not a value")
	}
}

func scalars(nodes []*yaml.Node) ([]string, error) {
	items := make([]string, len(nodes))
	for i, n := range nodes {
		n = resolveAlias(n)
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			return nil, fmt.Errorf("line %d: only plain values are allowed here", n.Line)
		}
		items[i] = n.Value
	}
	return items, nil
}

func (s *fileSource) isPrefix(prefix string) bool {
	for name := range s.flags {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// spell writes a flag's name the way the documentation writes file keys.
func (s *fileSource) spell(name string) string { return strings.ReplaceAll(name, "-", "_") }

func (s *fileSource) keys() []string {
	keys := make([]string, 0, len(s.flags))
	for name := range s.flags {
		keys = append(keys, s.spell(name))
	}
	return keys
}
