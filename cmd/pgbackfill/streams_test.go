package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// canary is a password that no output may show.
const canary = "cAnArY-pAsSwOrD"

// streams runs the program to its end and gives its two streams apart.
func streams(t *testing.T, dsn, dir string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	var out, said bytes.Buffer
	c := exec.CommandContext(deadline(t, 2*time.Minute), path, args...)
	c.Dir, c.Stdout, c.Stderr, c.Env = dir, &out, &said, environment(dsn)
	if err := c.Run(); c.ProcessState == nil {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), out.String(), said.String()
}

// jsonLines asserts that a text is JSON, an object a line, and reads them.
func jsonLines(t *testing.T, text string) []map[string]any {
	t.Helper()
	var list []map[string]any
	for line := range strings.Lines(text) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatalf("a line is no JSON object: %v\n%s", err, line)
		}
		list = append(list, record)
	}
	if len(list) == 0 {
		t.Fatal("there is not one record")
	}
	return list
}

// environment is the program's: no configuration or database of the machine's reaches it.
func environment(dsn string) []string {
	return append(clean(os.Environ()), "DATABASE_URL="+dsn, "XDG_CONFIG_HOME="+filepath.Join(os.TempDir(), "nowhere"))
}
