package progressui

import (
	"regexp"
	"strings"

	"github.com/mattn/go-runewidth"
)

// The colours, as ANSI attributes.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (st style) paint(attribute, text string) string {
	if !st.color || text == "" {
		return text
	}
	return "\x1b[" + attribute + "m" + text + "\x1b[0m"
}

// cells is how wide a text is on the terminal, attributes left out.
func cells(text string) int { return runewidth.StringWidth(plain(text)) }

// plain is a text without its attributes.
func plain(text string) string {
	for {
		begin := strings.Index(text, "\x1b[")
		if begin < 0 {
			return text
		}
		end := strings.IndexByte(text[begin:], 'm')
		if end < 0 {
			return text
		}
		text = text[:begin] + text[begin+end+1:]
	}
}

// cut is a text in at most so many cells, with … where something is left out. It is for
// texts without attributes.
func cut(text string, width int) string {
	return strings.TrimRight(runewidth.Truncate(oneLine(text), max(width, 0), "…"), " ")
}

// spread puts one text at the left edge and at the right as many of the parts, from the
// first, as there is room for.
func spread(left string, parts []string, width int) string {
	if cells(left) > width {
		return cut(plain(left), width)
	}
	for n := len(parts); n > 0; n-- {
		right := strings.Join(parts[:n], "  ")
		if room := width - cells(left) - cells(right); room >= 2 {
			return left + strings.Repeat(" ", room) + right
		}
	}
	return left
}

// wrap breaks a text at spaces into at most so many lines; what is left over is cut.
func wrap(text string, width, most int) []string {
	var lines []string
	for text != "" {
		if cells(text) <= width || len(lines) == most-1 {
			return append(lines, cut(text, width))
		}
		head := runewidth.Truncate(text, width, "")
		if i := strings.LastIndexByte(head, ' '); i > width/2 {
			head = head[:i]
		}
		lines = append(lines, head)
		text = strings.TrimLeft(text[len(head):], " ")
	}
	return lines
}

// hanging is what later lines of a broken line are indented by: its indentation, and the word and
// the spaces, or the arrow, that its text stands behind.
var hanging = regexp.MustCompile(`^ *(\S+( \S+)? {2,}|→ )?`)

// Wrap breaks the lines of a text between words, so that none is wider than so many cells; a word
// that is wider stays whole. What is to be typed, behind the word next, is left as it is.
func Wrap(text string, width int) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if cells(line) > width && !strings.HasPrefix(line, "  next ") {
			lines[i] = hang(line, width)
		}
	}
	return strings.Join(lines, "\n")
}

// hang breaks one line.
func hang(line string, width int) string {
	head := hanging.FindString(line)
	by := strings.Repeat(" ", cells(head))
	if head == "" {
		by = "    "
	}
	var b strings.Builder
	b.WriteString(head)
	at, first := cells(head), true
	for word := range strings.FieldsSeq(line[len(head):]) {
		switch {
		case first:
		case at+1+cells(word) > width:
			b.WriteString("\n" + by)
			at = len(by)
		default:
			b.WriteString(" ")
			at++
		}
		b.WriteString(word)
		at, first = at+cells(word), false
	}
	return b.String()
}

// oneLine is a text without what would move the cursor: errors of the server may hold line
// breaks, and names any character.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0:
			return -1
		}
		return r
	}, text)
}

// join joins the texts that are not empty.
func join(between string, texts ...string) string {
	var list []string
	for _, t := range texts {
		if t != "" {
			list = append(list, t)
		}
	}
	return strings.Join(list, between)
}
