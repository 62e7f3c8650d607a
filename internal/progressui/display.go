// Package progressui shows a run to the person at the terminal: the live display while it
// goes on, and the summary at its end.
package progressui

import (
	"bytes"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// refresh is how often the display is drawn.
const refresh = 200 * time.Millisecond

// Display is the live display of a run, drawn by mpb at the foot of the terminal. Its Observe
// is a [backfill.Observer]. While it is live, everything else that goes to the terminal has to
// go through Writer, which puts it above. Close takes the display away.
type Display struct {
	progress *backfill.Progress
	screen   *screen
	bars     *mpb.Progress
	style    style

	// mu guards the lines, which are drawn once a frame.
	mu    sync.Mutex
	lines []string

	log     *Writer
	closing sync.Once
}

// Option changes how a display is drawn.
type Option func(*Display)

// WithSize says how large the terminal is, now, instead of asking it.
func WithSize(size func() Size) Option { return func(d *Display) { d.screen.size = size } }

// WithColor says whether there are colours, instead of NO_COLOR and TERM.
func WithColor(color bool) Option { return func(d *Display) { d.style.color = color } }

// WithUnicode says whether block characters can be shown, instead of the locale.
func WithUnicode(unicode bool) Option { return func(d *Display) { d.style.unicode = unicode } }

// Start begins to draw on w, which should be a terminal ([Usable]).
func Start(w io.Writer, options ...Option) *Display {
	d := &Display{progress: backfill.NewProgress(nil), style: styleOf(os.Getenv)}
	d.screen = &screen{out: w, size: sizeOf(w), count: func() int { d.mu.Lock(); defer d.mu.Unlock(); return max(len(d.lines), 1) }}
	for _, o := range options {
		o(d)
	}
	// mpb asks only files for their size; ours may be anything, and the frame keeps to it itself.
	d.bars = mpb.New(mpb.WithOutput(d.screen), mpb.WithAutoRefresh(), mpb.WithRefreshRate(refresh), mpb.WithWidth(unbounded))
	first := mpb.BarFillerFunc(func(out io.Writer, _ decor.Statistics) error {
		_, err := io.WriteString(out, d.draw())
		return err
	})
	rest := mpb.BarFillerFunc(func(out io.Writer, _ decor.Statistics) error {
		_, err := io.WriteString(out, d.below())
		return err
	})
	d.log = &Writer{display: d}
	d.bars.MustAdd(0, first, mpb.BarFillerTrim(), mpb.BarExtender(rest, false))
	return d
}

// unbounded is a width and height for mpb that no terminal exceeds.
const unbounded = 10_000

// Usable reports whether a live display can be drawn on f: it is a terminal that can move its cursor.
func Usable(f *os.File) bool {
	return term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

func styleOf(getenv func(string) string) style {
	locale := getenv("LC_ALL")
	for _, name := range []string{"LC_CTYPE", "LANG"} {
		if locale == "" {
			locale = getenv(name)
		}
	}
	locale = strings.ToUpper(strings.ReplaceAll(locale, "-", ""))
	return style{
		color:   getenv("NO_COLOR") == "" && getenv("TERM") != "dumb",
		unicode: strings.Contains(locale, "UTF8"),
	}
}

// sizeOf asks the terminal for its size; what is none has 80 columns and 24 lines.
func sizeOf(w io.Writer) func() Size {
	return func() Size {
		if f, ok := w.(*os.File); ok {
			if width, height, err := term.GetSize(int(f.Fd())); err == nil && width > 0 && height > 0 {
				return Size{width, height}
			}
		}
		return Size{80, 24}
	}
}

// draw makes the lines of this frame and returns the first.
func (d *Display) draw() string {
	s := d.progress.Snapshot()
	lines := []string{""}
	if s.Job != "" {
		lines = frame(s, d.screen.size(), d.style, time.Now())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = lines
	return lines[0]
}

// below is the other lines of the frame that draw made.
func (d *Display) below() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var b strings.Builder
	for _, line := range d.lines[1:] {
		b.WriteString(line + "\n")
	}
	return b.String()
}

// Observe takes an event in.
func (d *Display) Observe(e backfill.Event) { d.progress.Observe(e) }

// Writer is where log lines go while the display is live: they are put above it. It goes on
// to work after Close, straight to the terminal.
func (d *Display) Writer() *Writer { return d.log }

// Close takes the display off the terminal, leaves what was logged, and waits for everything
// that Start began. Closing again does nothing.
func (d *Display) Close() {
	d.closing.Do(func() {
		d.log.close(func() {
			d.bars.Shutdown()
			d.bars.Wait() // for the bar's own goroutine
			d.screen.clear()
		})
	})
}

// Writer writes whole lines above a live display.
type Writer struct {
	display *Display

	mu     sync.Mutex
	rest   []byte
	closed bool
}

// Color reports whether lines may have colours.
func (w *Writer) Color() bool { return w.display.style.color }

// Write takes text; a line is shown when it is complete.
func (w *Writer) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return w.display.screen.out.Write(b)
	}
	w.rest = append(w.rest, b...)
	end := bytes.LastIndexByte(w.rest, '\n') + 1
	if end == 0 {
		return len(b), nil
	}
	if _, err := w.display.bars.Write(w.rest[:end]); err != nil {
		return 0, err
	}
	w.rest = append(w.rest[:0], w.rest[end:]...)
	return len(b), nil
}

// close shows what is left of a line, takes the display away and lets later text through to
// the terminal. What is written meanwhile waits, so that it is not wiped off with the display.
func (w *Writer) close(takeAway func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.rest) > 0 {
		_, _ = w.display.bars.Write(append(w.rest, '\n'))
		w.rest = nil
	}
	takeAway()
	w.closed = true
}
