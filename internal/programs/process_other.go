//go:build !unix

package programs

import "os/exec"

func ofItsOwn(*exec.Cmd) {}

// killGroup ends the process; what it started must notice by itself that its input is at its end.
func killGroup(cmd *exec.Cmd) { _ = cmd.Process.Kill() }

func notExecutable(error) bool { return false }
