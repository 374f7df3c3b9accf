package nixfleet_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// modulePath is the import path prefix of everything in this module.
const modulePath = "nixfleet"

// maxTextFile bounds what the text rules read of one file. Nothing written by
// hand comes near it, and recorded test data beyond it is not prose.
const maxTextFile = 1 << 20

// source is one tree of the module as the rules see it: every Go file parsed
// whatever its build constraints say, and every text file. Rules take a source,
// not the disk, so that the planted failures go through the very same code.
type source struct {
	fsys     fs.FS
	fset     *token.FileSet
	packages map[string]*sourcePackage // by directory; "." is the root
	texts    []textFile
}

// sourcePackage is one directory with Go files in it.
type sourcePackage struct {
	dir   string
	files []goFile
}

// goFile is one parsed Go file.
type goFile struct {
	path string
	test bool
	ast  *ast.File
}

// textFile is one file without a NUL byte in it.
type textFile struct {
	path string
	text string
}

// violation is one place where a rule is broken.
type violation struct {
	at   string // path, or path:line
	what string // what is there and why it may not be
}

func (v violation) String() string { return v.at + ": " + v.what }

// plantedDir holds trees that break the rules on purpose.
const plantedDir = "tools/planted/testdata"

// loadSource reads the tree but for hidden directories (.ci is ours), build
// output and what is planted. Of testdata and nested modules it takes the text
// files only: their Go is not this module's.
func loadSource(t *testing.T, fsys fs.FS) *source {
	t.Helper()
	src := &source{fsys: fsys, fset: token.NewFileSet(), packages: map[string]*sourcePackage{}}
	nested := map[string]bool{}
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if skippedDir(p) {
				return fs.SkipDir
			}
			if _, err := fs.Stat(fsys, path.Join(p, "go.mod")); err == nil && p != "." {
				nested[p] = true
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		return src.add(p, nested)
	})
	if err != nil {
		t.Fatalf("reading the source tree: %v", err)
	}
	return src
}

func skippedDir(p string) bool {
	base := path.Base(p)
	hidden := strings.HasPrefix(base, ".") && p != "." && base != ".ci"
	return hidden || p == plantedDir || p == "bin"
}

// add files the file under what it is: text, and Go source of this module.
func (src *source) add(p string, nested map[string]bool) error {
	data, err := fs.ReadFile(src.fsys, p)
	if err != nil {
		return err
	}
	if len(data) <= maxTextFile && !bytes.ContainsRune(data, 0) {
		src.texts = append(src.texts, textFile{path: p, text: string(data)})
	}
	if !strings.HasSuffix(p, ".go") || notOurs(p, nested) {
		return nil
	}
	parsed, err := parser.ParseFile(src.fset, p, data, parser.ParseComments)
	if err != nil {
		return err
	}
	dir := path.Dir(p)
	if src.packages[dir] == nil {
		src.packages[dir] = &sourcePackage{dir: dir}
	}
	src.packages[dir].files = append(src.packages[dir].files,
		goFile{path: p, test: strings.HasSuffix(p, "_test.go"), ast: parsed})
	return nil
}

func notOurs(p string, nested map[string]bool) bool {
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		if nested[dir] || path.Base(dir) == "testdata" || strings.HasPrefix(path.Base(dir), "_") {
			return true
		}
	}
	return false
}

// dirs lists the package directories in order, so that failures do not jump about.
func (src *source) dirs() []string {
	var dirs []string
	for dir := range src.packages {
		dirs = append(dirs, dir)
	}
	slices.Sort(dirs)
	return dirs
}

// at says where a node is: path:line.
func (src *source) at(n ast.Node) string {
	pos := src.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", pos.Filename, pos.Line)
}

// goFiles calls visit for every Go file of the module, in order.
func (src *source) goFiles(visit func(dir string, f goFile)) {
	for _, dir := range src.dirs() {
		for _, f := range src.packages[dir].files {
			visit(dir, f)
		}
	}
}

// which files of a package imports looks at.
const (
	codeOnly     = false
	codeAndTests = true
)

// imports calls visit for every direct import of a package's files.
func (src *source) imports(dir string, tests bool, visit func(f goFile, importPath string)) {
	pkg := src.packages[dir]
	if pkg == nil {
		return
	}
	for _, f := range pkg.files {
		if f.test && !tests {
			continue
		}
		for _, p := range importsOf(f) {
			visit(f, p)
		}
	}
}

// importsOf gives the import paths of a file.
func importsOf(f goFile) []string {
	var paths []string
	for _, spec := range f.ast.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}

// dirOf turns an import path of this module into its directory.
func dirOf(importPath string) (string, bool) {
	if importPath == modulePath {
		return ".", true
	}
	return strings.CutPrefix(importPath, modulePath+"/")
}

// isStd tells the standard library by the rule the go command itself uses: no
// dot in the first element, and not this module.
func isStd(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	_, own := dirOf(importPath)
	return !own && !strings.Contains(first, ".")
}

// localName is the name by which a file speaks of an imported package, or "".
func localName(f goFile, importPath string) string {
	for _, spec := range f.ast.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err != nil || p != importPath {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(importPath)
	}
	return ""
}

// uses calls found for every mention pkg.name in the file where pkg is the
// package imported from importPath and name is one of names.
func uses(f goFile, importPath string, names []string, found func(n ast.Node, name string)) {
	local := localName(f, importPath)
	if local == "" || local == "_" {
		return
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok || !slices.Contains(names, sel.Sel.Name) {
			return true
		}
		if id, ok := sel.X.(*ast.Ident); ok && id.Name == local {
			found(n, sel.Sel.Name)
		}
		return true
	})
}

// calls visits every call in a file with the last part of the function's name.
func calls(f goFile, visit func(call *ast.CallExpr, name string)) {
	ast.Inspect(f.ast, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		switch fun := call.Fun.(type) {
		case *ast.Ident:
			visit(call, fun.Name)
		case *ast.SelectorExpr:
			visit(call, fun.Sel.Name)
		}
		return true
	})
}

// callOf gives the call whose function is fun, or nil if fun is not called here.
func callOf(f goFile, fun ast.Node) *ast.CallExpr {
	var found *ast.CallExpr
	calls(f, func(call *ast.CallExpr, _ string) {
		if call.Fun == fun {
			found = call
		}
	})
	return found
}

// literal is the value of a string literal, or "".
func literal(e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	s, err := strconv.Unquote(lit.Value)
	if err != nil {
		return ""
	}
	return s
}
