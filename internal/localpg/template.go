package localpg

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// initdb takes one to two seconds, copying what it made a tenth of that. So its result is kept in the user's cache,
// one for each installation and arguments, and data directories are copies of it.

// templates is held while a template is made, so that clusters that start at once make it once.
var templates sync.Mutex

// initData makes the data directory and returns the superuser's password in it.
func (c *Cluster) initData(ctx context.Context) (password string, err error) {
	cache, err := c.templateDir()
	if err != nil || c.opts.Fresh {
		return c.initdb(ctx) // no place to keep it (HOME is not set): slower, and right
	}
	templates.Lock()
	defer templates.Unlock()
	password, err = c.fromTemplate(cache)
	if !errors.Is(err, fs.ErrNotExist) {
		return password, err
	}
	// A copy that found half a template left half a data directory.
	if err := os.RemoveAll(c.data()); err != nil {
		return "", err
	}
	password, err = c.initdb(ctx)
	if err != nil {
		return "", err
	}
	return password, c.keepTemplate(cache, password)
}

// initdb runs the program.
func (c *Cluster) initdb(ctx context.Context) (password string, err error) {
	password = rand.Text()
	pwfile := filepath.Join(c.dir, "pwfile")
	if err := c.write(pwfile, password+"\n"); err != nil {
		return "", err
	}
	args := append([]string{"-D", c.data(), "-U", superuser, "--pwfile", pwfile, "--auth=scram-sha-256", "--no-sync"}, c.opts.InitdbArgs...)
	return password, errors.Join(c.tool(ctx, nil, "initdb", args...), os.Remove(pwfile))
}

// templateDir names the place of the template that this cluster is a copy of.
func (c *Cluster) templateDir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	key := sha256.Sum256([]byte(strings.Join(append([]string{"1", c.inst.Version, c.inst.BinDir, c.account.name}, c.opts.InitdbArgs...), "\x00")))
	return filepath.Join(cache, "pgbackfill", "localpg", c.inst.Version+"-"+hex.EncodeToString(key[:6])), nil
}

// fromTemplate copies the template; fs.ErrNotExist when there is none.
func (c *Cluster) fromTemplate(cache string) (password string, err error) {
	text, err := os.ReadFile(filepath.Join(cache, "password"))
	if err != nil {
		return "", err
	}
	if err := copyTree(c.data(), filepath.Join(cache, "data")); err != nil {
		return "", fmt.Errorf("copying the template: %w", err)
	}
	return string(text), c.account.own(c.data())
}

// keepTemplate puts a copy of the data directory into the cache. It is renamed there when whole, so that another process
// sees all of it or nothing.
func (c *Cluster) keepTemplate(cache, password string) error {
	parent := filepath.Dir(cache)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return nil // a cache that cannot be written costs time only
	}
	sweep(parent)
	tmp, err := os.MkdirTemp(parent, "tmp-")
	if err != nil {
		return nil
	}
	defer os.RemoveAll(tmp)
	if err := copyTree(filepath.Join(tmp, "data"), c.data()); err != nil {
		return fmt.Errorf("keeping a template: %w", err)
	}
	if err := os.WriteFile(filepath.Join(tmp, "password"), []byte(password), 0o600); err != nil {
		return fmt.Errorf("keeping a template: %w", err)
	}
	if err := os.Rename(tmp, cache); err != nil && !isDir(cache) { // another process may have been faster
		return fmt.Errorf("keeping a template: %w", err)
	}
	return nil
}

// sweep removes what a process that was killed while it made a template left behind.
func sweep(parent string) {
	old, _ := filepath.Glob(filepath.Join(parent, "tmp-*")) // the pattern is well formed
	for _, dir := range old {
		if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > time.Hour {
			_ = os.RemoveAll(dir)
		}
	}
}

// copyTree copies directories and regular files with their permissions.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.Mkdir(target, info.Mode().Perm())
		case d.Type().IsRegular():
			return copyFile(target, path, info.Mode().Perm())
		default:
			return fmt.Errorf("%s is neither a file nor a directory", path)
		}
	})
}

func copyFile(to, from string, mode fs.FileMode) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
