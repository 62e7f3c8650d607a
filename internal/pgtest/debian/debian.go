// Package debian gives tests the files of Debian's packages without installing them: they are downloaded with apt-get, which anybody
// may do, and unpacked into the user's cache. Tests that use it are in targets of their own: they need a Debian and, the
// first time, its mirror.
package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds a download.
const patience = 5 * time.Minute

// one keeps tests of one binary from unpacking the same files at once.
var one sync.Mutex

// Unpacked is the folder in which the files of packages are: usr/sbin/pgbouncer and so on. It fails the test where they cannot
// be had.
func Unpacked(t testing.TB, packages ...string) string {
	t.Helper()
	one.Lock()
	defer one.Unlock()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(cache, "pgbackfill", "debian", strings.Join(packages, "+"))
	if _, err := os.Stat(root); err == nil {
		return root
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := unpack(ctx, root, packages); err != nil {
		t.Fatalf("the files of Debian's packages %s: %v", strings.Join(packages, ", "), err)
	}
	return root
}

// unpack puts the files into a folder beside root and then in its place: who finds it finds all of it.
func unpack(ctx context.Context, root string, packages []string) error {
	if err := os.MkdirAll(filepath.Dir(root), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(root), "tmp-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	download := append([]string{"apt-get", "-q", "download"}, packages...)
	if err := run(ctx, tmp, download...); err != nil {
		// The lists of a fresh container are empty, or too old to name a file that is still there.
		if updated := run(ctx, tmp, "apt-get", "-q", "update"); updated != nil {
			return errors.Join(err, updated)
		}
		if err := run(ctx, tmp, download...); err != nil {
			return err
		}
	}
	files, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil || len(files) != len(packages) {
		return errors.Join(err, fmt.Errorf("apt-get has downloaded %d packages of %d", len(files), len(packages)))
	}
	for _, file := range files {
		if err := run(ctx, tmp, "dpkg-deb", "-x", file, filepath.Join(tmp, "root")); err != nil {
			return err
		}
	}
	if err := os.Rename(filepath.Join(tmp, "root"), root); err != nil && !errors.Is(err, os.ErrExist) { // another process may have been faster
		if _, there := os.Stat(root); there != nil {
			return err
		}
	}
	return nil
}

func run(ctx context.Context, dir string, command ...string) error {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, out[max(0, len(out)-500):])
	}
	return nil
}

// Libraries is the folder of a library of those that are unpacked under root, by a pattern of its name.
func Libraries(t testing.TB, root, pattern string) string {
	t.Helper()
	for _, place := range []string{"usr/lib/*/", "lib/*/", "usr/lib/*/*/"} {
		found, err := filepath.Glob(filepath.Join(root, place+pattern))
		if err == nil && len(found) > 0 {
			return filepath.Dir(found[0])
		}
	}
	t.Fatalf("there is no %s under %s", pattern, root)
	return ""
}
