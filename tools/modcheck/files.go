package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// maxLines is the length of a Go file that people still read as one thing.
const maxLines = 500

// checkFiles reads every file once and applies the rules that concern its text.
func checkFiles(ws *workspace) ([]violation, error) {
	results := make([][]violation, len(ws.files))
	errs := make([]error, len(ws.files))
	var wg sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				results[i], errs[i] = checkFile(ws, ws.files[i])
			}
		})
	}
	for i := range ws.files {
		next <- i
	}
	close(next)
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("check %s: %w", ws.files[i], err)
		}
	}
	return slices.Concat(results...), nil
}

func checkFile(ws *workspace, name string) ([]violation, error) {
	content, err := os.ReadFile(filepath.Join(ws.root, filepath.FromSlash(name)))
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if isBinary(content) {
		return nil, nil
	}
	all := mentions(name, content)
	if strings.HasSuffix(name, ".go") {
		fromGo, err := checkGo(ws, name, content)
		if err != nil {
			return nil, err
		}
		all = append(all, fromGo...)
	}
	return all, nil
}

// isBinary uses git's own rule: a zero byte in the first 8,000.
func isBinary(content []byte) bool {
	return bytes.IndexByte(content[:min(len(content), 8000)], 0) >= 0
}

// importSpec is one import of a Go file.
type importSpec struct {
	path string
	line int
}

func checkGo(ws *workspace, name string, content []byte) ([]violation, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, content, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	imports := make([]importSpec, 0, len(file.Imports))
	for _, imp := range file.Imports {
		path, err := strconv.Unquote(imp.Path.Value)
		if err != nil {
			return nil, fmt.Errorf("parse import %s: %w", imp.Path.Value, err)
		}
		imports = append(imports, importSpec{path, fset.Position(imp.Pos()).Line})
	}
	all := ws.importViolations(name, imports)
	if ast.IsGenerated(file) {
		return all, nil
	}
	if lines := bytes.Count(content, []byte("\n")); lines > maxLines {
		all = append(all, violation{path: name, text: fmt.Sprintf("has %d lines, more than %d: split it by concept", lines, maxLines)})
	}
	return append(all, forbiddenCalls(fset, name, file)...), nil
}

// forbiddenCalls finds tests that pass without having tested, and tests that
// hope that a while is long enough. It looks at the syntax, not at the types: the
// receivers are the names that testing's values go by.
func forbiddenCalls(fset *token.FileSet, name string, file *ast.File) []violation {
	isTest := strings.HasSuffix(name, "_test.go")
	timeName := importName(file, "time")
	var all []violation
	var around []ast.Node
	ast.Inspect(file, func(n ast.Node) bool {
		if n == nil {
			around = around[:len(around)-1]
			return true
		}
		around = append(around, n)
		on, method := methodCall(n)
		line := fset.Position(n.Pos()).Line
		switch {
		case slices.Contains([]string{"t", "b", "f", "tb"}, on) && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, method):
			if !isRapid(on, around) {
				all = append(all, violation{name, line, "skips: a test runs, or fails and says what is missing"})
			}
		case isTest && timeName != "" && on == timeName && method == "Sleep":
			all = append(all, violation{name, line, "sleeps: wait for a signal, or use testing/synctest"})
		}
		return true
	})
	return all
}

// methodCall returns x and Method of a call x.Method(…).
func methodCall(n ast.Node) (on, method string) {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return "", ""
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	ident, ok := sel.X.(*ast.Ident)
	if !ok {
		return "", ""
	}
	return ident.Name, sel.Sel.Name
}

// isRapid reports whether name is a parameter of type *rapid.T in the innermost
// of the functions around that has a parameter of the name. Such a Skip discards
// one generated case, of which there are enough others; it skips no test.
func isRapid(name string, around []ast.Node) bool {
	for _, n := range slices.Backward(around) {
		var params *ast.FieldList
		switch fn := n.(type) {
		case *ast.FuncDecl:
			params = fn.Type.Params
		case *ast.FuncLit:
			params = fn.Type.Params
		default:
			continue
		}
		for _, field := range params.List {
			if slices.ContainsFunc(field.Names, func(id *ast.Ident) bool { return id.Name == name }) {
				return isRapidT(field.Type)
			}
		}
	}
	return false
}

func isRapidT(expr ast.Expr) bool {
	star, ok := expr.(*ast.StarExpr)
	if !ok {
		return false
	}
	sel, ok := star.X.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	pkg, ok := sel.X.(*ast.Ident)
	return ok && pkg.Name == "rapid" && sel.Sel.Name == "T"
}

// importName is the name a file uses for a package of the standard library; ""
// when it does not import it.
func importName(file *ast.File, path string) string {
	for _, imp := range file.Imports {
		if imp.Path.Value != strconv.Quote(path) {
			continue
		}
		if imp.Name != nil {
			return imp.Name.Name
		}
		return path
	}
	return ""
}

// mention is something no file may contain.
type mention struct {
	pattern *regexp.Regexp
	text    string
}

// forbiddenMentions are put together from parts, or this file would be its own
// first violation.
func forbiddenMentions() []mention {
	return []mention{
		{regexp.MustCompile(`(?:^|[^\w.~$}/-])/(?:ho` + `me|Us` + `ers)/\w+/`), "names an absolute path of one machine"},
		{regexp.MustCompile(`\bGOPR` + `OXY=`), "chooses a module proxy: that is the environment's choice"},
		{regexp.MustCompile(`(?i)\bissue` + ` #?\d+\b`), "cites an issue number: say what matters instead"},
		{regexp.MustCompile(`\b(?:TO` + `DO|FIX` + `ME|XX` + `X)\b`), "marks work as unfinished: finish it or open an issue"},
	}
}

func mentions(name string, content []byte) []violation {
	if filepath.Base(name) == "go.sum" || filepath.Base(name) == "go.work.sum" {
		return nil // hashes, in which anything can turn up
	}
	var all []violation
	for _, m := range forbiddenMentions() {
		for _, at := range m.pattern.FindAllIndex(content, -1) {
			found := strings.TrimSpace(string(content[at[0]:at[1]]))
			line := 1 + bytes.Count(content[:at[1]-1], []byte("\n"))
			all = append(all, violation{name, line, fmt.Sprintf("%q: %s", found, m.text)})
		}
	}
	return all
}
