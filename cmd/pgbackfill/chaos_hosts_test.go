package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pgbackfill/pgbackfill/internal/pgtest/debian"
)

// hostsFile is what the names of a process's hosts are looked up in, by a library that is put before the C library (nss_wrapper).
type hostsFile struct{ path string }

func (h *hostsFile) environ(t *testing.T) []string {
	t.Helper()
	root := debian.Unpacked(t, "libnss-wrapper")
	h.path = filepath.Join(t.TempDir(), "hosts")
	h.write(t, "")
	return []string{
		"LD_PRELOAD=" + filepath.Join(debian.Libraries(t, root, "libnss_wrapper.so"), "libnss_wrapper.so"),
		"NSS_WRAPPER_HOSTS=" + h.path, "GODEBUG=netdns=cgo",
	}
}

// write changes the names at once.
func (h *hostsFile) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(h.path+".new", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(h.path+".new", h.path); err != nil {
		t.Fatal(err)
	}
}
