package core_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"

	"nixfleet/controlplane/core"
)

// marked returns the types of this package that carry the marker method.
func marked(t *testing.T, marker string) []string {
	t.Helper()
	entries, err := os.ReadDir(".")
	must(t, err)
	var names []string
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, parser.SkipObjectResolution)
		must(t, err)
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil && f.Name.Name == marker {
				names = append(names, "core."+f.Recv.List[0].Type.(*ast.Ident).Name)
			}
		}
	}
	slices.Sort(names)
	return names
}

func namesOf[T any](list []T) []string {
	var names []string
	for _, v := range list {
		names = append(names, fmt.Sprintf("%T", v))
	}
	slices.Sort(names)
	return names
}

func TestTheListsOfSumTypesAreComplete(t *testing.T) {
	for marker, list := range map[string][]string{"isInput": namesOf(core.AllInputs), "isFact": namesOf(core.AllFacts)} {
		if want := marked(t, marker); !slices.Equal(list, want) {
			t.Errorf("%s: listed %v, marked %v", marker, list, want)
		}
	}
}
