package jobs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// MaxSize is the most bytes that a job file may have: 4 MiB.
const MaxSize = 4 << 20

// readOwn is what a job file says: an ordinary file, no larger than it may be, in the directory where somebody looked for it.
func readOwn(path string) ([]byte, error) {
	if err := staysInside(path); err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err != nil { // before it is opened: a pipe would wait for who writes to it
		return nil, unreadable(path, err)
	} else if !info.IsDir() && !info.Mode().IsRegular() { // a directory says so itself
		return nil, &backfill.Error{
			Place: path, Found: "what is no ordinary file", Expected: "a YAML file", Remedy: "copy what it gives to a file", Kind: backfill.ErrInput,
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	switch {
	case err != nil:
		return nil, unreadable(path, err)
	case len(src) > MaxSize:
		return nil, tooLarge(path)
	}
	return src, nil
}

// staysInside refuses a symbolic link to elsewhere: the errors of a job file show what is in it, and a branch can have a link to any file.
// Links beside the file are as ConfigMaps of Kubernetes have them.
func staysInside(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return unreadable(path, err)
	}
	if info.Mode()&fs.ModeSymlink == 0 {
		return nil
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return unreadable(path, err)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return unreadable(path, err)
	}
	if within, err := filepath.Rel(dir, target); err == nil && within != ".." && !strings.HasPrefix(within, ".."+string(filepath.Separator)) {
		return nil
	}
	return &backfill.Error{
		Place: path, Found: "a symbolic link that leads out of its directory", Expected: "the job file itself",
		Remedy: "name the file that it leads to, if that is the one to be read", Kind: backfill.ErrInput,
	}
}

func unreadable(path string, err error) error {
	return &backfill.Error{
		Place: path, Found: "the job file cannot be read", Expected: "a YAML file",
		Remedy: "check the path; `pgbackfill init TABLE` writes a first job file", Kind: backfill.ErrInput, Err: errors.Unwrap(err),
	}
}

func tooLarge(path string) error {
	return &backfill.Error{
		Place: path, Found: fmt.Sprintf("more than %d bytes", MaxSize), Expected: "a job file",
		Remedy: "put values into a table and join it by `from`; put jobs into files of their own", Kind: backfill.ErrInput,
	}
}
