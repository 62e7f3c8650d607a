package progressui_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/mattn/go-runewidth"

	"github.com/pgbackfill/pgbackfill/internal/progressui"
)

// terminal understands what a display writes: text, \r, \n, cursor up, erase to the end of
// the line and below, attributes. Like tmux it breaks long lines, and breaks them anew when
// it is resized.
type terminal struct {
	mu   sync.Mutex
	rows []row
	// y and x are the cursor's.
	y, x          int
	width, height int
	unknown       string
}

type row struct {
	cells []string
	// goesOn is set where the line goes on in the next row.
	goesOn bool
}

func newTerminal(width, height int) *terminal {
	return &terminal{width: width, height: height, rows: make([]row, 1)}
}

func (t *terminal) size() progressui.Size {
	t.mu.Lock()
	defer t.mu.Unlock()
	return progressui.Size{Width: t.width, Height: t.height}
}

func (t *terminal) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := string(b)
	for text != "" {
		switch {
		case strings.HasPrefix(text, "\x1b["):
			end := strings.IndexAny(text, "AJKm")
			t.control(text[2:end], text[end])
			text = text[end+1:]
		case text[0] == '\n':
			t.newline(false)
			text = text[1:]
		case text[0] == '\r':
			t.x, text = 0, text[1:]
		default:
			r := []rune(text)[0]
			t.put(string(r), runewidth.RuneWidth(r))
			text = text[len(string(r)):]
		}
	}
	return len(b), nil
}

func (t *terminal) control(argument string, command byte) {
	switch command {
	case 'A':
		n, err := strconv.Atoi(argument)
		if err != nil || n == 0 {
			t.unknown += fmt.Sprintf("cursor up %q ", argument)
		}
		t.y = max(t.y-n, len(t.rows)-t.height, 0)
	case 'K':
		t.rows[t.y].cells = t.rows[t.y].cells[:min(t.x, len(t.rows[t.y].cells))]
		t.rows[t.y].goesOn = false
	case 'J':
		if t.x == 0 && t.y == max(len(t.rows)-t.height, 0) {
			t.unknown += "erase of the whole screen " // tmux would save it in its history
		}
		t.rows[t.y].cells = t.rows[t.y].cells[:min(t.x, len(t.rows[t.y].cells))]
		t.rows = t.rows[:t.y+1]
	}
}

func (t *terminal) put(cell string, width int) {
	if t.x+width > t.width {
		t.newline(true)
	}
	r := &t.rows[t.y]
	for len(r.cells) < t.x+width {
		r.cells = append(r.cells, " ")
	}
	r.cells[t.x] = cell
	for i := 1; i < width; i++ {
		r.cells[t.x+i] = ""
	}
	t.x += width
}

func (t *terminal) newline(goesOn bool) {
	t.rows[t.y].goesOn = goesOn
	t.x, t.y = 0, t.y+1
	if t.y == len(t.rows) {
		t.rows = append(t.rows, row{})
	}
}

// resize breaks the lines anew; the cursor stays at the end.
func (t *terminal) resize(width, height int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines [][]string
	for i, r := range t.rows {
		if i > 0 && t.rows[i-1].goesOn {
			lines[len(lines)-1] = append(lines[len(lines)-1], r.cells...)
			continue
		}
		lines = append(lines, append([]string(nil), r.cells...))
	}
	t.width, t.height, t.rows = width, height, nil
	for _, line := range lines {
		for len(line) > width {
			t.rows = append(t.rows, row{cells: line[:width:width], goesOn: true})
			line = line[width:]
		}
		t.rows = append(t.rows, row{cells: line})
	}
	t.y, t.x = len(t.rows)-1, 0
}

// text is everything that is and was on the terminal.
func (t *terminal) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for _, r := range t.rows {
		b.WriteString(strings.TrimRight(strings.Join(r.cells, ""), " "))
		if !r.goesOn {
			b.WriteString("\n")
		}
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func (t *terminal) misunderstood() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.unknown
}
