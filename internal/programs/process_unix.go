//go:build unix

package programs

import (
	"errors"
	"os/exec"
	"syscall"
)

// ofItsOwn gives the program a process group of its own: a Ctrl-C at the terminal reaches it only through us, and all
// that it starts can be ended with it.
func ofItsOwn(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup ends the process and all that is in its group.
func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// notExecutable reports whether the system does not know how to run the file.
func notExecutable(err error) bool { return errors.Is(err, syscall.ENOEXEC) }
