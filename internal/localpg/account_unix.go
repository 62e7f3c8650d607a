//go:build unix

package localpg

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is whom the server runs as. The zero account is ourselves.
type account struct {
	drop     bool // we are root, and the server is not
	uid, gid uint32
	name     string
}

// serverAccount is ourselves, unless we are root, whom PostgreSQL refuses: then postgres, or else nobody.
func serverAccount() (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return account{}, fmt.Errorf("user %s: %w", name, err)
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return account{}, fmt.Errorf("user %s: %w", name, err)
		}
		if uid != 0 {
			return account{drop: true, uid: uint32(uid), gid: uint32(gid), name: name}, nil
		}
	}
	return account{}, fmt.Errorf("we are root, PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody: " +
		"create one, or run as an ordinary user")
}

// detach gives a command the account, and a session of its own: Ctrl-C goes to every process of the terminal's
// foreground group, and the server must not stop before the program that uses it has had its say.
func (a account) detach(cmd *exec.Cmd) {
	attr := &syscall.SysProcAttr{Setsid: true}
	if a.drop {
		attr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid} // no supplementary groups
	}
	cmd.SysProcAttr = attr
}

// own hands a file tree that we made to the account.
func (a account) own(root string) error {
	if !a.drop {
		return nil
	}
	return filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(a.uid), int(a.gid))
	})
}

// mayEnter reports whether the account can reach what is in dir.
func (a account) mayEnter(dir string) bool {
	if !a.drop {
		return true
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return false
	}
	for {
		info, err := os.Stat(dir)
		if err != nil {
			return false
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		mode := info.Mode().Perm()
		switch {
		case !ok:
			return false
		case st.Uid == a.uid:
			mode >>= 6
		case st.Gid == a.gid:
			mode >>= 3
		}
		if mode&1 == 0 {
			return false
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return true
		}
		dir = parent
	}
}
