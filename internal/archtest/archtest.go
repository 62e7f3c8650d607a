// Package archtest checks, by reading the source files, that the code is laid out as it is meant to be: who may import
// whom, and where process-wide things may be done. CONTRIBUTING.md has the picture.
package archtest

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Module is the path of the module that is checked.
const Module = "github.com/pgbackfill/pgbackfill"

// layer is a row of the picture; arrows point from a higher to a lower one.
type layer int

const (
	leaf     layer = iota // imports nothing of ours
	core                  // the words, the engine, the throttle
	adapter               // what satisfies the engine's interfaces, and what shows its events
	top                   // programs, which wire everything
	forTests              // for tests alone
)

// place is where a package belongs.
type place struct {
	layer layer
	also  []string // packages of ours that it may import although the arrows do not say so
}

// places holds every package by its folder; a folder inside of one belongs with it, unless it has a place of its own.
// A package that is not here fails the check, so that a new one is given its place, here and in CONTRIBUTING.md.
var places = map[string]place{
	"cmd":           {layer: top},
	"bench":         {layer: top},
	"examples":      {layer: top},
	"docs/examples": {layer: top},

	"configs":             {layer: adapter},
	"jobs":                {layer: adapter},
	"checkpoint":          {layer: adapter, also: []string{"internal/ledger"}},
	"internal/ledger":     {layer: adapter},
	"internal/eventlog":   {layer: adapter},
	"internal/metrics":    {layer: adapter},
	"internal/progressui": {layer: adapter},
	"internal/report":     {layer: adapter},
	"internal/dashboard":  {layer: adapter},
	"internal/fleet":      {layer: adapter},
	"internal/programs":   {layer: adapter},

	"backfill":          {layer: core},
	"backfill/verify":   {layer: core, also: []string{"backfill"}},
	"backfill/contract": {layer: core, also: []string{"backfill", "backfill/verify"}},
	"throttle":          {layer: core},

	"internal/pgsql":   {layer: leaf},
	"internal/catalog": {layer: leaf, also: []string{"internal/pgsql"}},
	"internal/pgerr":   {layer: leaf},
	"internal/human":   {layer: leaf},
	"internal/planted": {layer: leaf},
	"internal/pgparse": {layer: leaf},
	"internal/rowjson": {layer: leaf},
	"internal/localpg": {layer: leaf, also: []string{"internal/pgsql"}},

	"internal/pgtest":   {layer: forTests, also: []string{"internal/localpg"}},
	"internal/archtest": {layer: forTests},
}

// only names, for a package of somebody else's, the one folder of ours that may import it.
var only = map[string]string{
	"github.com/spf13/viper":                     "configs",
	"github.com/fergusstrange/embedded-postgres": "internal/localpg",
}

// vague are package names that say nothing of what belongs in them.
var vague = []string{"util", "utils", "common", "helper", "helpers", "model", "models", "misc", "shared", "base"}

// File is what the check needs to know of a source file.
type File struct {
	Path    string   // relative to the module's root, with slashes
	Package string   // as its package clause says
	Imports []string // import paths
	Inits   int      // functions named init
	Exits   int      // calls of os.Exit, and of the log.Fatal family, which are the same
}

func (f File) dir() string  { return path.Dir(f.Path) }
func (f File) isTest() bool { return strings.HasSuffix(f.Path, "_test.go") }

// Load parses every Go file of the module in fsys. Other modules inside it, testdata, and folders whose name begins with a
// dot or an underscore are not part of it.
func Load(fsys fs.FS) ([]File, error) {
	var files []File
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			base := d.Name()
			if name != "." && (base == "testdata" || base == "vendor" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) {
				return fs.SkipDir
			}
			if _, err := fs.Stat(fsys, path.Join(name, "go.mod")); name != "." && err == nil {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		f, err := parse(name, text)
		if err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the source: %w", err)
	}
	if len(files) == 0 {
		return nil, errors.New("reading the source: there is no Go file")
	}
	return files, nil
}

func parse(name string, text []byte) (File, error) {
	tree, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
	if err != nil {
		return File{}, err
	}
	f := File{Path: name, Package: tree.Name.Name}
	local := map[string]string{} // the name in this file of each import
	for _, spec := range tree.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return File{}, fmt.Errorf("%s: %w", name, err)
		}
		f.Imports = append(f.Imports, imported)
		as := path.Base(imported)
		if spec.Name != nil {
			as = spec.Name.Name
		}
		local[as] = imported
	}
	for _, decl := range tree.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			f.Inits++
		}
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		// Any mention counts, not only a call: exit := os.Exit is a way out too.
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok {
			from := local[x.Name]
			if from == "os" && sel.Sel.Name == "Exit" || from == "log" && strings.HasPrefix(sel.Sel.Name, "Fatal") {
				f.Exits++
			}
		}
		return true
	})
	return f, nil
}

// Violations gives one line for everything that is not as it should be.
func Violations(files []File) []string {
	if len(files) == 0 {
		return []string{"there is nothing to check"}
	}
	var bad []string
	complain := func(f File, format string, args ...any) {
		bad = append(bad, f.Path+": "+fmt.Sprintf(format, args...))
	}
	for _, f := range files {
		if slices.Contains(vague, strings.TrimSuffix(f.Package, "_test")) {
			complain(f, "the package name %s says nothing of what belongs in it", f.Package)
		}
		home, ok := home(f.dir())
		if !ok {
			complain(f, "the package %s has no place: give it one in internal/archtest and in CONTRIBUTING.md", f.dir())
			continue
		}
		for _, imported := range f.Imports {
			if why := forbidden(home, imported, f.isTest()); why != "" {
				complain(f, "imports %s: %s", strings.TrimPrefix(imported, Module+"/"), why)
			}
		}
		if f.isTest() {
			continue
		}
		if f.Inits > 0 {
			complain(f, "has an init function: nothing is to happen because of an import")
		}
		if f.Exits > 0 && f.Package != "main" && places[home].layer != forTests {
			complain(f, "ends the process: only a main may")
		}
	}
	return bad
}

// home finds the place that a folder belongs to: its own, or that of the nearest folder around it.
func home(dir string) (string, bool) {
	for d := dir; d != "." && d != "/"; d = path.Dir(d) {
		if _, ok := places[d]; ok {
			return d, true
		}
	}
	return "", false
}

// forbidden says why a package at home in from may not import another, or nothing.
func forbidden(from, imported string, test bool) string {
	for theirs, ours := range only {
		if (imported == theirs || strings.HasPrefix(imported, theirs+"/")) && from != ours {
			return "only " + ours + " may"
		}
	}
	if imported == "testing" || strings.HasPrefix(imported, "testing/") {
		if !test && places[from].layer != forTests {
			return "only tests may"
		}
		return ""
	}
	dir, ok := strings.CutPrefix(imported, Module+"/")
	if !ok {
		return ""
	}
	to, ok := home(dir)
	switch {
	case !ok:
		return "it has no place"
	case to == from || slices.Contains(places[from].also, to):
		return ""
	case places[to].layer == forTests && !test && places[from].layer != forTests:
		return "only tests may"
	case places[to].layer == top:
		return "nothing may import a program"
	case test:
		return "" // a test may bring together what the code keeps apart
	case places[from].layer == forTests:
		return "it is for the tests of every layer, so it depends on none"
	case places[from].layer == leaf:
		return "a leaf imports nothing of ours"
	case places[from].layer == places[to].layer:
		return "siblings do not know each other"
	case places[from].layer < places[to].layer:
		return "arrows point down"
	}
	return ""
}
