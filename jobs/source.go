package jobs

import (
	"sort"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// place is a line and a column in a file, in characters, both from 1.
type place struct{ line, column int }

func placeOf(n *yaml.Node) place { return place{n.Line, n.Column} }

// source is the text of a file, in which the characters of a value are found again.
type source struct {
	text []rune
	// starts are the indexes at which the lines begin, as YAML counts lines.
	starts []int
}

func newSource(src []byte) source {
	s := source{text: []rune(string(src)), starts: []int{0}}
	for i, c := range s.text {
		crlf := c == '\r' && i+1 < len(s.text) && s.text[i+1] == '\n'
		if lineBreak(c) && !crlf {
			s.starts = append(s.starts, i+1)
		}
	}
	return s
}

func lineBreak(c rune) bool {
	return c == '\n' || c == '\r' || c == '\u0085' || c == '\u2028' || c == '\u2029'
}

// place is where the character with that index stands.
func (s source) place(index int) place {
	line := sort.SearchInts(s.starts, index+1)
	return place{line, index - s.starts[line-1] + 1}
}

// index is the character at a place, or the end of the text.
func (s source) index(p place) int {
	if p.line < 1 || p.line > len(s.starts) {
		return len(s.text)
	}
	return min(s.starts[p.line-1]+max(p.column, 1)-1, len(s.text))
}

// line is a line's text, without its end. Lines are counted from 1.
func (s source) line(n int) string {
	if n < 1 || n > len(s.starts) {
		return ""
	}
	end := s.starts[n-1]
	for end < len(s.text) && !lineBreak(s.text[end]) {
		end++
	}
	return string(s.text[s.starts[n-1]:end])
}

// within is the place of the character at an offset, in bytes, of a scalar's value. The
// styles of YAML fold and indent, but all of a value's characters that are not white
// space stand in the source, in their order: so these are counted off. White space, and
// the end, is the place after the character before it.
func (s source) within(n *yaml.Node, offset int) place {
	i := s.index(placeOf(n))
	switch n.Style {
	case yaml.LiteralStyle, yaml.FoldedStyle:
		i = s.index(place{n.Line + 1, 1})
	case yaml.SingleQuotedStyle, yaml.DoubleQuotedStyle:
		i++
	}
	after := i
	for at, c := range n.Value {
		if unicode.IsSpace(c) {
			if at >= offset {
				return s.place(after)
			}
			continue
		}
		var size int
		for {
			var found rune
			found, size = s.element(i, n.Style)
			if size == 0 {
				return s.place(min(after, len(s.text)))
			}
			if !unicode.IsSpace(found) {
				break
			}
			i += size
		}
		if at >= offset {
			return s.place(i)
		}
		i += size
		after = i
	}
	return s.place(min(after, len(s.text)))
}

// element is the character that is written at i, which may take several: ” for a quote
// in single quotes, a backslash and what it escapes in double ones. Size 0 is the end.
func (s source) element(i int, style yaml.Style) (c rune, size int) {
	if i >= len(s.text) {
		return 0, 0
	}
	c = s.text[i]
	next := func(n int) rune {
		if i+n < len(s.text) {
			return s.text[i+n]
		}
		return 0
	}
	switch {
	case style == yaml.SingleQuotedStyle && c == '\'' && next(1) == '\'':
		return c, 2
	case style != yaml.DoubleQuotedStyle || c != '\\':
		return c, 1
	}
	switch c = next(1); c {
	case 'n', 't', 'r', 'v', 'f', ' ', '_', 'N', 'L', 'P', '\n', '\r', '\t':
		return ' ', 2
	case 'x', 'u', 'U':
		digits := map[rune]int{'x': 2, 'u': 4, 'U': 8}[c]
		value := rune(0)
		for d := range digits {
			value = value<<4 | hexDigit(next(2+d))
		}
		return value, 2 + digits
	}
	return c, 2
}

func hexDigit(c rune) rune {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 0
}
