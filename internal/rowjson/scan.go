package rowjson

import (
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads one JSON text strictly (RFC 8259), and no Go values out of it.
type scanner struct {
	b []byte
	i int
}

// problem is what is wrong with a line, and where.
type problem struct {
	at   int
	text string
}

func (p *problem) Error() string { return fmt.Sprintf("%s, at byte %d", p.text, p.at+1) }

func (s *scanner) bad(format string, args ...any) error {
	return &problem{at: s.i, text: fmt.Sprintf(format, args...)}
}

func (s *scanner) space() {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\t' || s.b[s.i] == '\r' || s.b[s.i] == '\n') {
		s.i++
	}
}

// is steps over c, and white space before it, where it is next.
func (s *scanner) is(c byte) bool {
	s.space()
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

// text reads a string.
func (s *scanner) text() (string, error) {
	if !s.is('"') {
		return "", s.bad("expected a string")
	}
	start := s.i
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return string(s.b[start : s.i-1]), nil
		case c == '\\':
			return s.escaped(append([]byte{}, s.b[start:s.i]...))
		case c < ' ':
			return "", s.bad("a control character in a string")
		default:
			s.i++
		}
	}
	return "", s.bad("a string without an end")
}

// escaped reads the rest of a string in which there is a backslash.
func (s *scanner) escaped(out []byte) (string, error) {
	for s.i < len(s.b) {
		c := s.b[s.i]
		switch {
		case c == '"':
			s.i++
			return string(out), nil
		case c < ' ':
			return "", s.bad("a control character in a string")
		case c != '\\':
			out = append(out, c)
			s.i++
			continue
		}
		if s.i+1 >= len(s.b) {
			break
		}
		c = s.b[s.i+1]
		if c == 'u' {
			r, err := s.unicode()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
			continue
		}
		plain, ok := escapes[c]
		if !ok {
			return "", s.bad(`\%c in a string`, c)
		}
		out = append(out, plain)
		s.i += 2
	}
	return "", s.bad("a string without an end")
}

var escapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unicode reads \uXXXX, or two of them that are one character together.
func (s *scanner) unicode() (rune, error) {
	r, ok := s.unit(s.i)
	if !ok {
		return 0, s.bad(`\u without four hexadecimal digits`)
	}
	size := 6
	if utf16.IsSurrogate(r) {
		second, ok := s.unit(s.i + size)
		if r = utf16.DecodeRune(r, second); !ok || r == utf8.RuneError {
			return 0, s.bad("half a surrogate pair, which is no character")
		}
		size *= 2
	}
	s.i += size
	return r, nil
}

func (s *scanner) unit(at int) (rune, bool) {
	if at+6 > len(s.b) || s.b[at] != '\\' || s.b[at+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range s.b[at+2 : at+6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// nestingMost is how deep values may be nested.
const nestingMost = 1000

// value steps over a value and returns its text.
func (s *scanner) value(depth int) ([]byte, error) {
	s.space()
	start := s.i
	if s.i == len(s.b) {
		return nil, s.bad("a value is missing")
	}
	var err error
	switch c := s.b[s.i]; {
	case depth > nestingMost:
		err = s.bad("values nested more than %d deep", nestingMost)
	case c == '"':
		_, err = s.text()
	case c == '{':
		err = s.object(func(string, []byte, int) error { return nil }, depth+1)
	case c == '[':
		err = s.array(func([]byte) error { return nil }, depth+1)
	case c == '-' || c >= '0' && c <= '9':
		err = s.number()
	default:
		err = s.word()
	}
	return s.b[start:s.i], err
}

func (s *scanner) word() error {
	for _, w := range []string{"true", "false", "null"} {
		if len(s.b)-s.i >= len(w) && string(s.b[s.i:s.i+len(w)]) == w {
			s.i += len(w)
			return nil
		}
	}
	return s.bad("expected a JSON value")
}

func (s *scanner) digits() bool {
	from := s.i
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i > from
}

func (s *scanner) next(set string) bool {
	for i := range len(set) {
		if s.i < len(s.b) && s.b[s.i] == set[i] {
			s.i++
			return true
		}
	}
	return false
}

func (s *scanner) number() error {
	s.next("-")
	if !s.next("0") && !s.digits() {
		return s.bad("expected a digit")
	}
	if s.next(".") && !s.digits() {
		return s.bad("expected a digit")
	}
	if s.next("eE") {
		s.next("+-")
		if !s.digits() {
			return s.bad("expected a digit")
		}
	}
	return nil
}

// object reads an object; each is told of every member, and where its value begins.
func (s *scanner) object(each func(name string, value []byte, at int) error, depth int) error {
	if !s.is('{') {
		return s.bad("expected a JSON object")
	}
	if s.is('}') {
		return nil
	}
	for {
		name, err := s.text()
		if err != nil {
			return err
		}
		if !s.is(':') {
			return s.bad("expected a colon")
		}
		s.space()
		at := s.i
		value, err := s.value(depth)
		if err != nil {
			return err
		}
		if err := each(name, value, at); err != nil {
			return err
		}
		if s.is(',') {
			continue
		}
		if s.is('}') {
			return nil
		}
		return s.bad("expected a comma or the end of the object")
	}
}

// array reads an array.
func (s *scanner) array(each func([]byte) error, depth int) error {
	if !s.is('[') {
		return s.bad("expected a JSON array")
	}
	if s.is(']') {
		return nil
	}
	for {
		value, err := s.value(depth)
		if err != nil {
			return err
		}
		if err := each(value); err != nil {
			return err
		}
		if s.is(',') {
			continue
		}
		if s.is(']') {
			return nil
		}
		return s.bad("expected a comma or the end of the array")
	}
}
