//go:build linux || darwin

package localpg

import (
	"errors"

	"golang.org/x/sys/unix"
)

// removeSharedMemory takes away the System V segment by which PostgreSQL knows that a data directory is in use.
// A server that is killed cannot, and the segment would outlive the data directory.
func removeSharedMemory(id int) error {
	_, err := unix.SysvShmCtl(id, unix.IPC_RMID, nil)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EIDRM) {
		return nil // gone already
	}
	return err
}
