package reference

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/parley-rt/parley/e2e/harness"
)

// The API for administrators is described as its proto files have it: go test ./e2e/reference -update.
func TestAPIPages(t *testing.T) {
	t.Parallel()
	for name, proto := range map[string]string{"api.md": "admin/v1/room.proto", "api-schedules.md": "admin/v1/schedule.proto"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testAPIPage(t, name, proto)
		})
	}
}

func testAPIPage(t *testing.T, name, proto string) {
	t.Helper()
	root, err := harness.Root()
	require.NoError(t, err)
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{filepath.Join(root, "libs", "protocol")}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(t.Context(), proto)
	require.NoError(t, err)
	intro, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	p := newPage(files[0])
	want := strings.NewReplacer("{{service}}", p.comment(files[0].Services().Get(0)), "{{reference}}\n", p.reference()).Replace(string(intro))

	path := filepath.Join(root, "docs", "reference", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(want), 0o600))
		return
	}
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, want == string(got), "the page is out of date: go test ./e2e/reference -update")
}

// page writes the reference of a proto file.
type page struct {
	file protoreflect.FileDescriptor
	text strings.Builder
	// meanings of requests' and responses' fields: one without a comment means what the first of its name means.
	meanings map[string]string
}

func newPage(file protoreflect.FileDescriptor) *page {
	p := &page{file: file, meanings: map[string]string{}}
	for m := range each(file.Messages()) {
		for f := range each(m.Fields()) {
			if key, shared := p.shared(f); shared && p.meanings[key] == "" {
				p.meanings[key] = p.comment(f)
			}
		}
	}
	return p
}

// list is what all lists of descriptors are.
type list[D any] interface {
	Len() int
	Get(i int) D
}

func each[D any](l list[D]) func(func(D) bool) {
	return func(yield func(D) bool) {
		for i := range l.Len() {
			if !yield(l.Get(i)) {
				return
			}
		}
	}
}

func (p *page) comment(d protoreflect.Descriptor) string {
	lines := strings.Split(p.file.SourceLocations().ByDescriptor(d).LeadingComments, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

// cell is a comment as one line of a table.
func cell(comment string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(comment), " "), "|", `\|`)
}

func (p *page) shared(f protoreflect.FieldDescriptor) (string, bool) {
	end := rpcEnd(f.Parent())
	return end + "." + string(f.Name()), end != ""
}

// rpcEnd is how the name of a message ends that is only sent to a method or back; empty: of another.
func rpcEnd(message protoreflect.Descriptor) string {
	for _, end := range []string{"Request", "Response"} {
		if strings.HasSuffix(string(message.Name()), end) {
			return end
		}
	}
	return ""
}

func (p *page) meaning(f protoreflect.FieldDescriptor) string {
	if own := p.comment(f); own != "" {
		return cell(own)
	}
	if key, shared := p.shared(f); shared {
		return cell(p.meanings[key])
	}
	return ""
}

func (p *page) printf(format string, args ...any) { fmt.Fprintf(&p.text, format, args...) }

func (p *page) reference() string {
	for s := range each(p.file.Services()) {
		p.printf("## Methods\n")
		for m := range each(s.Methods()) {
			p.printf("\n### %s\n\n%s\n\n`POST /%s/%s`\n", m.Name(), p.comment(m), s.FullName(), m.Name())
			p.fields("request", m.Input())
			p.fields("response", m.Output())
		}
	}
	p.printf("\n## Types\n")
	for m := range each(p.file.Messages()) {
		if rpcEnd(m) != "" {
			continue
		}
		p.printf("\n### %s\n", m.Name())
		if c := p.comment(m); c != "" {
			p.printf("\n%s\n", c)
		}
		p.fields("field", m)
	}
	for e := range each(p.file.Enums()) {
		p.printf("\n### %s\n\n%s\n\n| value | meaning |\n|---|---|\n", e.Name(), p.comment(e))
		for v := range each(e.Values()) {
			if v.Number() != 0 {
				p.printf("| `%s` | %s |\n", v.Name(), cell(p.comment(v)))
			}
		}
	}
	return p.text.String()
}

func (p *page) fields(title string, m protoreflect.MessageDescriptor) {
	if m.Fields().Len() == 0 {
		p.printf("\nThe %s is an empty object.\n", title)
		return
	}
	p.printf("\n| %s | type | meaning |\n|---|---|---|\n", title)
	for f := range each(m.Fields()) {
		p.printf("| `%s` | %s | %s |\n", f.Name(), typeName(f), p.meaning(f))
	}
}

func typeName(f protoreflect.FieldDescriptor) string {
	name := f.Kind().String()
	switch {
	case f.Message() != nil && f.Message().ParentFile() != f.ParentFile():
		name = strings.ToLower(string(f.Message().Name()))
	case f.Message() != nil:
		name = link(f.Message().Name())
	case f.Enum() != nil:
		name = link(f.Enum().Name())
	}
	if f.IsList() {
		return "list of " + name
	}
	return name
}

func link(name protoreflect.Name) string {
	return fmt.Sprintf("[%s](#%s)", name, strings.ToLower(string(name)))
}
