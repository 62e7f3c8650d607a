package main

import (
	"io"
	"os"

	"golang.org/x/term"

	"github.com/pgbackfill/pgbackfill/internal/human"
	"github.com/pgbackfill/pgbackfill/internal/progressui"
)

// wrapping is f for text that others wrote as well: what steers a terminal is shown and not sent, and where f is a terminal, lines are
// broken between words so that they fit.
func wrapping(f *os.File) io.Writer {
	if !term.IsTerminal(int(f.Fd())) {
		return harmless{f}
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		return harmless{f}
	}
	return wrapped{out: harmless{f}, width: width}
}

// harmless passes text on without what steers a terminal: names, keys and messages come from a database and from job files.
type harmless struct{ out io.Writer }

func (h harmless) Write(b []byte) (int, error) {
	_, err := io.WriteString(h.out, human.Visible(string(b)))
	return len(b), err
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
