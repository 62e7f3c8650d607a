//go:build !unix

package localpg

import (
	"context"
	"errors"
	"os/exec"
	"syscall"
)

// Everything here exists so that programs that use this package compile; a cluster cannot be started.

var errNotUnix = errors.New("throwaway PostgreSQL clusters need a Unix system (on Windows: WSL)")

type account struct {
	drop     bool
	uid, gid uint32
	name     string
}

func serverAccount() (account, error) { return account{}, errNotUnix }

func (account) own(string) error     { return nil }
func (account) mayEnter(string) bool { return false }

func descendants(context.Context, int) ([]int, error) { return nil, errNotUnix }
func anyAlive(context.Context, []int) (bool, error)   { return false, errNotUnix }
func signalAll([]int, syscall.Signal) error           { return errNotUnix }
func startDetached(*exec.Cmd, account) error          { return errNotUnix }
func removeSharedMemory(int) error                    { return nil }

const (
	sigKill  = syscall.SIGKILL
	sigSmart = syscall.SIGTERM
	sigFast  = syscall.SIGINT
	sigQuit  = syscall.SIGQUIT
	sigStop  = syscall.Signal(0x13)
	sigCont  = syscall.Signal(0x12)
)
