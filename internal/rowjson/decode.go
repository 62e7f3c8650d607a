package rowjson

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Failed is the member by which a transform says that it could not do a row, and why.
const Failed = "error"

// RowError is what a transform says of a row that it could not do.
type RowError struct{ Text string }

func (e *RowError) Error() string { return e.Text }

// Answer reads the line that came back for a row.
type Answer struct {
	// Key are the members of the row's key, with their values as they were sent.
	Key []Member
	// Returns are the members that are expected besides.
	Returns []Member
	// Keyless says that the key may be left out: the order alone says which row it is.
	Keyless bool
}

// Read gives the returned values in the form in which PostgreSQL reads them, in the order of Returns; nil is NULL.
// key holds, for each part of the key, the JSON that was sent. A line that says that the row failed is a *[RowError];
// any other error says that it is not the line that was asked for.
func (a Answer) Read(line []byte, key [][]byte) ([]*string, error) {
	if !utf8.Valid(line) {
		return nil, errors.New("it is not UTF-8")
	}
	values := make([][]byte, len(a.Key)+len(a.Returns))
	var failed []byte
	s := &scanner{b: line}
	err := s.object(func(name string, value []byte, at int) error {
		i := a.member(name)
		if i < 0 && name == Failed {
			failed = value
			return nil
		}
		if i < 0 {
			return &problem{at: at, text: fmt.Sprintf("the member %q, which is not among what is expected: %s", name, a.names())}
		}
		if values[i] != nil {
			return &problem{at: at, text: fmt.Sprintf("the member %q comes twice", name)}
		}
		values[i] = value
		return nil
	}, 0)
	if err != nil {
		return nil, err
	}
	if s.space(); s.i < len(line) {
		return nil, s.bad("something follows the object")
	}
	if err := a.sameKey(values[:len(a.Key)], key); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, failure(failed)
	}
	return a.returned(values[len(a.Key):])
}

func failure(value []byte) error {
	if value[0] != '"' {
		return fmt.Errorf("the member %q is not a string", Failed)
	}
	text, err := (&scanner{b: value}).text()
	if err != nil {
		return err
	}
	return &RowError{Text: text}
}

func (a Answer) member(name string) int {
	// There are few of them: a map would be slower.
	for i := range a.Key {
		if a.Key[i].Name == name {
			return i
		}
	}
	for i := range a.Returns {
		if a.Returns[i].Name == name {
			return len(a.Key) + i
		}
	}
	return -1
}

func (a Answer) names() string {
	var names []string
	for _, m := range slices.Concat(a.Key, a.Returns) {
		names = append(names, m.Name)
	}
	return strings.Join(names, ", ")
}

func (a Answer) sameKey(got, sent [][]byte) error {
	for i, m := range a.Key {
		switch {
		case got[i] == nil && (a.Keyless || m.Kind == JSON && sent[i] == nil):
		case got[i] == nil:
			return fmt.Errorf("the key's member %q is missing; every line repeats the key of its row", m.Name)
		case bytes.Equal(got[i], sent[i]) || m.Kind.same(got[i], sent[i]):
		case m.Kind == Number && rounded(got[i], sent[i]):
			return fmt.Errorf("%s is %s where %s was sent: integers are read as floating-point numbers, which have 53 bits", m.Name, got[i], sent[i])
		default:
			return fmt.Errorf("%s is %s where %s was sent: the lines that come back must be in the order of those sent, one for each", m.Name, Excerpt(got[i]), sent[i])
		}
	}
	return nil
}

func (a Answer) returned(values [][]byte) ([]*string, error) {
	out := make([]*string, len(values))
	for i, v := range values {
		m := a.Returns[i]
		switch {
		case v == nil && m.Kind == JSON:
		case v == nil:
			return nil, fmt.Errorf("the member %q is missing; null says NULL", m.Name)
		case m.Kind != JSON && string(v) == "null":
		default:
			text, err := m.Kind.read(v)
			if err == nil && strings.IndexByte(text, 0) >= 0 {
				err = errors.New("it holds the character U+0000, which PostgreSQL does not store")
			}
			if err != nil {
				return nil, fmt.Errorf("the member %q: %w", m.Name, err)
			}
			out[i] = &text
		}
	}
	return out, nil
}

// Text is a value that [Kind.AppendValue] wrote in the form in which PostgreSQL reads it; nil, and null but for JSON, is
// NULL.
func (k Kind) Text(v []byte) (*string, error) {
	if v == nil || k != JSON && string(v) == "null" {
		return nil, nil
	}
	text, err := k.read(v)
	return &text, err
}

// read is a value in PostgreSQL's text form.
func (k Kind) read(v []byte) (string, error) {
	if k == JSON {
		return string(v), nil
	}
	if v[0] == '"' {
		text, err := (&scanner{b: v}).text()
		if err != nil || k != Bytes {
			return text, err
		}
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return "", errors.New("it is not base64, as bytea must be")
		}
		return `\x` + hex.EncodeToString(raw), nil
	}
	switch number := v[0] == '-' || v[0] >= '0' && v[0] <= '9'; {
	case number && (k == Number || k == Float):
		return string(v), nil
	case !number && k == Bool && v[0] != '{' && v[0] != '[':
		return string(v), nil
	case v[0] == '[' && k == Array:
		return arrayText(v)
	}
	return "", fmt.Errorf("it is %s; expected %s", what(v), k.expected())
}

func (k Kind) expected() string {
	switch k {
	case Number, Float:
		return "a number"
	case Bool:
		return "true or false"
	case Bytes:
		return "a string of base64"
	case Time:
		return "a string as of ISO 8601"
	case Array:
		return "an array, or a string as PostgreSQL writes arrays"
	}
	return "a string"
}

func what(v []byte) string {
	switch v[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	case '"':
		return "a string"
	}
	return "a number"
}

// arrayText is a JSON array as PostgreSQL writes arrays.
func arrayText(v []byte) (string, error) {
	var b strings.Builder
	b.WriteByte('{')
	first := true
	err := (&scanner{b: v}).array(func(element []byte) error {
		if !first {
			b.WriteByte(',')
		}
		first = false
		text := string(element)
		var err error
		switch element[0] {
		case '{':
			return errors.New("an object in an array")
		case '[':
			text, err = arrayText(element)
			b.WriteString(text)
			return err
		case 'n':
			b.WriteString("NULL")
			return nil
		case '"':
			if text, err = (&scanner{b: element}).text(); err != nil {
				return err
			}
		}
		b.WriteByte('"')
		for i := range len(text) {
			if text[i] == '"' || text[i] == '\\' {
				b.WriteByte('\\')
			}
			b.WriteByte(text[i])
		}
		b.WriteByte('"')
		return nil
	}, 0)
	b.WriteByte('}')
	return b.String(), err
}
