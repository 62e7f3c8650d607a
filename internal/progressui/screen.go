package progressui

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// screen is the terminal as mpb writes on it. mpb moves up by the lines it drew before, erases
// everything below and draws anew. The screen does three things better:
//
//   - When the terminal has become narrower meanwhile, it has broken the lines into more, and
//     the screen moves up by the rest.
//   - Lines are written over and only then erased to their ends, so that nothing flickers;
//     and tmux, which saves what is erased from the top left corner in its history
//     (scroll-on-clear), does not save every frame.
//   - Drawing begins in the first column, wherever the echo of ^C has left the cursor.
type screen struct {
	size func() Size

	mu  sync.Mutex
	out io.Writer
	// drawn holds the widths of the lines that stand below the log, as of the last frame.
	drawn []int
	// count is how many lines the frame has that is being written; mpb writes log lines before them.
	count func() int
}

// up is how mpb begins a frame, but for the first: so many lines up, erase below.
var up = regexp.MustCompile("^\x1b\\[([0-9]+)A\x1b\\[J")

// Write takes one whole frame of mpb's: the way up, log lines, the lines of the frame.
func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var frame bytes.Buffer
	rows := s.broken()
	body := b
	if m := up.FindSubmatch(b); m != nil {
		body = b[len(m[0]):]
		n, _ := strconv.Atoi(string(m[1])) // digits that mpb wrote itself
		rows += n
	}
	moveUp(&frame, rows)
	lines := strings.Split(strings.TrimSuffix(string(body), "\n"), "\n")
	width := max(s.size().Width, 1)
	for _, line := range lines {
		frame.WriteString("\x1b[K" + line)
		if n := cells(line); n > width && n%width != 0 { // a log line that goes on in the next row
			frame.WriteString("\x1b[K")
		}
		frame.WriteString("\n")
	}
	frame.WriteString("\x1b[J")
	s.drawn = s.drawn[:0]
	for _, line := range lines[max(len(lines)-s.count(), 0):] {
		s.drawn = append(s.drawn, cells(line))
	}
	if _, err := s.out.Write(frame.Bytes()); err != nil {
		return 0, err
	}
	return len(b), nil
}

// broken is how many lines more than were drawn the terminal shows now.
func (s *screen) broken() int {
	width := max(s.size().Width, 1)
	more := 0
	for _, w := range s.drawn {
		if w > width {
			more += (w - 1) / width
		}
	}
	return more
}

func moveUp(b *bytes.Buffer, rows int) {
	b.WriteString("\r")
	if rows > 0 { // some terminals take 0 for 1
		fmt.Fprintf(b, "\x1b[%dA", rows)
	}
}

// clear takes the frame off the terminal; the cursor stands below the log then.
func (s *screen) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b bytes.Buffer
	rows := s.broken() + len(s.drawn)
	moveUp(&b, rows)
	b.WriteString(strings.Repeat("\x1b[K\n", rows) + "\x1b[K")
	moveUp(&b, rows)
	_, _ = s.out.Write(b.Bytes()) // a terminal that is gone needs no cleaning
	s.drawn = s.drawn[:0]
}
