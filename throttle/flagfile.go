package throttle

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// flagFile is a path: while there is a file, work stops. Where its folder is not there, nobody could make the file, and
// that is an error.
type flagFile struct{ path string }

func (flagFile) Name() string { return "flag_file" }
func (flagFile) Class() Class { return Gating }

func (s flagFile) Read(context.Context) (Reading, error) {
	_, err := os.Lstat(s.path)
	if err == nil {
		return Reading{Says: "present", Shut: true, Detail: s.path}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return Reading{}, err
	}
	if _, err := os.Stat(filepath.Dir(s.path)); err != nil {
		return Reading{}, err
	}
	return Reading{Says: "absent", Detail: s.path}, nil
}
