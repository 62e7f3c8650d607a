//go:build unix

package jobs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// Whoever writes a job file makes no other file be read by it, and none of the errors says what is in that: CI lints branches of strangers.
// Made to fail: without staysInside, lint says the first line of the file that the link leads to; without the look at what it is, it waits
// for who writes to the pipe.
func TestReadFileReadsNoOtherFile(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	dir := filepath.Join(top, "jobs")
	const good = "name: n\ntable: x\ndelete: true\n"
	for name, text := range map[string]string{"secret": "cAnArY: x\n", "jobs/..data/a.yaml": good, "jobs/b.yaml": good} {
		path := filepath.Join(top, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{
		"up.yaml": "../secret", "absolute.yaml": filepath.Join(top, "secret"), "first.yaml": "up.yaml", "environ.yaml": "/proc/self/environ", "null.yaml": "/dev/null",
		"nowhere.yaml": "nowhere", "round.yaml": "round.yaml", "configmap.yaml": "..data/a.yaml", "beside.yaml": "b.yaml", "whole.yaml": filepath.Join(dir, "b.yaml"),
	} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, says := range map[string]string{
		"up.yaml": "leads out of its directory", "absolute.yaml": "leads out of its directory", "first.yaml": "leads out of its directory",
		"environ.yaml": "leads out of its directory", "null.yaml": "leads out of its directory", "nowhere.yaml": "cannot be read", "round.yaml": "cannot be read",
		"pipe.yaml": "no ordinary file", "": "is a directory",
		"configmap.yaml": "", "beside.yaml": "", "whole.yaml": "", "b.yaml": "",
	} {
		_, err := ReadFile(filepath.Join(dir, name))
		if says == "" && err != nil || says != "" && (!errors.Is(err, backfill.ErrInput) || !strings.Contains(err.Error(), says)) || err != nil && strings.Contains(err.Error(), "cAnArY") {
			t.Errorf("%s: %v; expected %q", name, err, says)
		}
	}
	// A link may lead to the directory itself, which is the one that was named.
	linked := filepath.Join(top, "linked")
	if err := os.Symlink(dir, linked); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(filepath.Join(linked, "configmap.yaml")); err != nil {
		t.Error(err)
	}
}

// A file that wants to take all time or memory is refused with a few words.
// Made to fail: without `enough` there were 29 MB of errors after half a minute, without MaxSize 1.3 GB of memory were taken.
func TestParseIsBounded(t *testing.T) {
	t.Parallel()
	many := func(n int, format string) []byte {
		var b bytes.Buffer
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.Bytes()
	}
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.Repeat(fmt.Sprintf("*%c,", c-1), 9))
	}
	for name, c := range map[string]struct {
		src  []byte
		says string
	}{
		"too large":      {make([]byte, MaxSize+1), "more than 4194304 bytes"},
		"unknown fields": {append([]byte("name: n\n"), many(100_000, "k%d: 1\n")...), "the unknown field `k1`"},
		"documents":      {many(1001, "---\nname: j%d\ntable: x\ndelete: true\n"), "more than 1000 jobs"},
		"deep lists":     {[]byte("name: " + strings.Repeat("[", 1_000_000)), "max depth"},
		"deep mappings":  {[]byte("a: " + strings.Repeat("{a: ", 9000) + "1" + strings.Repeat("}", 9000)), "the unknown field `a`"},
		"aliases":        {[]byte(bomb), "the alias *"},
		"parentheses":    {[]byte("name: n\ntable: x\nupdate: {set: {a: \"" + strings.Repeat("(", 100_000) + "1" + strings.Repeat(")", 100_000) + "\"}}\n"), "more than 1000 operators"},
	} {
		jobs, err := Parse("f.yaml", c.src)
		if jobs != nil || !errors.Is(err, backfill.ErrInput) {
			t.Errorf("%s: %d jobs, %v", name, len(jobs), err)
			continue
		}
		var list Errors
		if text := err.Error(); !strings.Contains(text, c.says) || len(text) > 100_000 || errors.As(err, &list) && len(list) > enough {
			t.Errorf("%s: %d bytes, %d errors: %.300s", name, len(text), len(list), text)
		}
	}
	// A long expression is none of that.
	if _, err := Parse("f.yaml", []byte("name: n\ntable: x\nupdate: {set: {a: \"'"+strings.Repeat("x", 100_000)+"'\"}}\n")); err != nil {
		t.Errorf("an expression of 100 kB: %.300v", err)
	}
}

// Braces in a quoted name are part of the name. Made to fail: with a look for {{ anywhere.
func TestTableWithBracesInItsName(t *testing.T) {
	t.Parallel()
	list, err := Parse("f.yaml", []byte("name: n\ntable: '\"a {{range}}\".\"{{helper x}}\"'\ndelete: true\n"))
	if err != nil || list[0].Table != (backfill.TableName{Schema: "a {{range}}", Name: "{{helper x}}"}) || list[0].WalkHelper != "" {
		t.Errorf("%+v, %v", list, err)
	}
}
