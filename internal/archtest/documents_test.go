package archtest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{"..", ".."}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// found are what an expression's group has in a text, sorted.
func found(expr, text string) []string {
	var list []string
	for _, m := range regexp.MustCompile(expr).FindAllStringSubmatch(text, -1) {
		list = append(list, m[1])
	}
	slices.Sort(list)
	return list
}

// A dependency without a reason, and a reason without a dependency, is an error.
//
// Made to fail: with a line less in docs/dependencies.md.
func TestDependenciesAreDocumented(t *testing.T) {
	t.Parallel()
	direct, _, _ := strings.Cut(read(t, "go.mod"), "// indirect")
	if diff := cmp.Diff(found(`(?m)^\t(\S+) v\S+$`, direct), found("(?m)^\\| `([^`]+)` \\|", read(t, "docs", "dependencies.md"))); diff != "" {
		t.Errorf("docs/dependencies.md is not go.mod's list (-go.mod +document):\n%s", diff)
	}
}

// Every entry of the runbook, and every claim about security, names tests, and they are there.
//
// Made to fail: with a test's name misspelt in the document, with an entry that names none.
func TestDocumentedTestsExist(t *testing.T) {
	t.Parallel()
	there := map[string]bool{}
	for _, pattern := range []string{"*/*_test.go", "*/*/*_test.go"} {
		files, err := filepath.Glob(filepath.Join("..", "..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range found(`(?m)^func (Test\w+)\(`, string(text)) {
				there[name] = true
			}
		}
	}
	for _, document := range []string{"runbook.md", "security.md", "dependencies.md"} {
		for _, name := range found("`(Test\\w+)`", read(t, "docs", document)) {
			if !there[name] {
				t.Errorf("docs/%s: there is no test %s", document, name)
			}
		}
	}
	for i, entry := range strings.Split(read(t, "docs", "runbook.md"), "\n## ") {
		if title, _, _ := strings.Cut(entry, "\n"); i > 0 && !strings.Contains(entry, "`Test") {
			t.Errorf("docs/runbook.md: no test reproduces %q", title)
		}
	}
}
