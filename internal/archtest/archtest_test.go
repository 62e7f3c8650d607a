package archtest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// TestLayout checks this module.
func TestLayout(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatalf("%s is not the module: %v", root, err)
	}
	files, err := Load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	// This very file is the proof that it was the right tree.
	if !slices.ContainsFunc(files, func(f File) bool { return f.Path == "internal/archtest/archtest_test.go" }) {
		t.Fatalf("%d files were parsed, this one not among them", len(files))
	}
	for _, v := range Violations(files) {
		t.Error(v)
	}
}

// source makes a file of a package in a folder, with imports.
func source(pkg, body string, imports ...string) *fstest.MapFile {
	var b strings.Builder
	b.WriteString("package " + pkg + "\n")
	for _, i := range imports {
		i = strings.Replace(i, "~", Module, 1)
		if !strings.Contains(i, `"`) {
			i = `"` + i + `"`
		}
		b.WriteString("import " + i + "\n")
	}
	b.WriteString(body)
	return &fstest.MapFile{Data: []byte(b.String())}
}

func TestViolations(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		path string
		file *fstest.MapFile
		want string // empty: it is fine
	}{
		"the program imports everything": {"cmd/pgbackfill/main.go", source("main", "", "~/configs", "~/backfill", "~/internal/pgsql", "~/checkpoint", "~/throttle", "~/internal/localpg"), ""},
		"an adapter imports the core":    {"checkpoint/l.go", source("checkpoint", "", "~/backfill", "~/internal/pgerr"), ""},
		"an adapter imports throttle":    {"internal/metrics/m.go", source("metrics", "", "~/throttle"), ""},
		"verify imports backfill":        {"backfill/verify/v.go", source("verify", "", "~/backfill"), ""},
		"catalog imports pgsql":          {"internal/catalog/c.go", source("catalog", "", "~/internal/pgsql"), ""},
		"a package inside a leaf":        {"internal/pgsql/internal/lex/l.go", source("lex", "", "~/internal/pgsql"), ""},
		"configs imports viper":          {"configs/c.go", source("configs", "", "github.com/spf13/viper"), ""},
		"main exits":                     {"cmd/pgbackfill/main.go", source("main", "func main() { os.Exit(1) }", "os"), ""},
		"a test has an init":             {"backfill/a_test.go", source("backfill", "func init() {}"), ""},
		"a test crosses layers":          {"backfill/a_test.go", source("backfill_test", "", "~/checkpoint", "~/internal/pgtest", "testing"), ""},
		"a method named init":            {"backfill/a.go", source("backfill", "type t int; func (t) init() {}"), ""},
		"an Exit of another os":          {"backfill/a.go", source("backfill", "var _ = os.Exit", `os "example.com/spaceship"`), ""},

		"backfill imports a sibling":     {"backfill/a.go", source("backfill", "", "~/throttle"), "siblings"},
		"backfill imports an adapter":    {"backfill/a.go", source("backfill", "", "~/checkpoint"), "arrows point down"},
		"backfill imports jobs":          {"backfill/a.go", source("backfill", "", "~/jobs"), "arrows point down"},
		"backfill imports configs":       {"backfill/a.go", source("backfill", "", "~/configs"), "arrows point down"},
		"backfill imports verify":        {"backfill/a.go", source("backfill", "", "~/backfill/verify"), "siblings"},
		"verify imports contract":        {"backfill/verify/a.go", source("verify", "", "~/backfill/contract"), "siblings"},
		"throttle imports backfill":      {"throttle/a.go", source("throttle", "", "~/backfill"), "siblings"},
		"adapters know each other":       {"jobs/a.go", source("jobs", "", "~/checkpoint"), "siblings"},
		"a leaf imports a leaf":          {"internal/pgerr/a.go", source("pgerr", "", "~/internal/pgsql"), "a leaf imports nothing"},
		"pgsql imports catalog":          {"internal/pgsql/a.go", source("pgsql", "", "~/internal/catalog"), "a leaf imports nothing"},
		"anyone imports the program":     {"jobs/a.go", source("jobs", "", "~/cmd/pgbackfill"), "nothing may import a program"},
		"a test imports the program":     {"jobs/a_test.go", source("jobs", "", "~/cmd/pgbackfill"), "nothing may import a program"},
		"an import by another name":      {"backfill/a.go", source("backfill", "", `x "`+Module+`/jobs"`), "arrows point down"},
		"an import of a folder inside":   {"jobs/a.go", source("jobs", "", "~/checkpoint/migrations"), "siblings"},
		"an import without a place":      {"jobs/a.go", source("jobs", "", "~/internal/elsewhere"), "no place"},
		"a package without a place":      {"internal/elsewhere/a.go", source("elsewhere", ""), "has no place"},
		"a package at the root":          {"a.go", source("pgbackfill", ""), "has no place"},
		"jobs imports viper":             {"jobs/a.go", source("jobs", "", "github.com/spf13/viper"), "only configs may"},
		"a test imports viper":           {"jobs/a_test.go", source("jobs", "", "github.com/spf13/viper"), "only configs may"},
		"viper's folder":                 {"cmd/pgbackfill/a.go", source("main", "", "github.com/spf13/viper/remote"), "only configs may"},
		"localpg imports testing":        {"internal/localpg/a.go", source("localpg", "", "testing"), "only tests may"},
		"the program imports pgtest":     {"cmd/pgbackfill/a.go", source("main", "", "~/internal/pgtest/proxy"), "only tests may"},
		"pgtest imports the engine":      {"internal/pgtest/a.go", source("pgtest", "", "~/backfill"), "depends on none"},
		"a vague name":                   {"internal/pgsql/utils/a.go", source("utils", ""), "says nothing"},
		"a vague name in a test package": {"backfill/a_test.go", source("common_test", ""), "says nothing"},
		"an init":                        {"internal/pgsql/a.go", source("pgsql", "func init() {}"), "init function"},
		"an init in main":                {"cmd/pgbackfill/a.go", source("main", "func init() {}"), "init function"},
		"a library exits":                {"backfill/a.go", source("backfill", "func f() { os.Exit(1) }", "os"), "only a main may"},
		"a library exits, renamed":       {"backfill/a.go", source("backfill", "var leave = system.Exit", `system "os"`), "only a main may"},
		"a library is fatal":             {"backfill/a.go", source("backfill", "func f() { log.Fatalf(``) }", "log"), "only a main may"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files, err := Load(fstest.MapFS{c.path: c.file, "go.mod": {}})
			if err != nil {
				t.Fatal(err)
			}
			got := Violations(files)
			switch {
			case c.want == "" && len(got) > 0:
				t.Errorf("complaints about what is fine: %q", got)
			case c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want) || !strings.HasPrefix(got[0], c.path+": ")):
				t.Errorf("got %q, want one about %s with %q", got, c.path, c.want)
			}
		})
	}
}

func TestNothingToCheckIsAFailure(t *testing.T) {
	t.Parallel()
	for name, fsys := range map[string]fstest.MapFS{
		"empty":             {},
		"no Go files":       {"README.md": {Data: []byte("package text")}},
		"only left out":     {"tools/go.mod": {}, "tools/a.go": source("utils", ""), "jobs/testdata/a.go": source("utils", ""), ".git/a.go": source("utils", "")},
		"not a Go file":     {"jobs/a.go": {Data: []byte("package")}},
		"a broken importer": {"jobs/a.go": {Data: []byte("package jobs\nimport \"a")}},
	} {
		if files, err := Load(fsys); err == nil {
			t.Errorf("%s: parsed %v", name, files)
		}
	}
	if len(Violations(nil)) == 0 {
		t.Error("no files, no complaint")
	}
}

func TestNothingOfTheBuildIsRead(t *testing.T) {
	t.Parallel()
	files, err := Load(fstest.MapFS{
		"go.mod": {}, "jobs/a.go": source("jobs", ""),
		"tools/go.mod": {}, "tools/a.go": source("utils", ""), "jobs/testdata/x/b.go": source("utils", ""), "_old/c.go": source("utils", ""),
	})
	if err != nil || len(files) != 1 || files[0].Path != "jobs/a.go" {
		t.Errorf("%v, %v", files, err)
	}
}
