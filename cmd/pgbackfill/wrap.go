package main

import (
	"io"
	"os"

	"golang.org/x/term"

	"github.com/pgbackfill/pgbackfill/internal/progressui"
)

// wrapping is f, or, where that is a terminal, what breaks lines between words so that they fit.
func wrapping(f *os.File) io.Writer {
	if !term.IsTerminal(int(f.Fd())) {
		return f
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		return f
	}
	return wrapped{out: f, width: width}
}

type wrapped struct {
	out   io.Writer
	width int
}

// Write takes whole lines.
func (w wrapped) Write(b []byte) (int, error) {
	_, err := io.WriteString(w.out, progressui.Wrap(string(b), w.width))
	return len(b), err
}
