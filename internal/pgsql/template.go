package pgsql

import (
	"fmt"
	"strings"
)

// Directive is one {{name args}} in a fragment of a job's SQL.
type Directive struct {
	// Name is the first word: "range", "scope".
	Name string
	// Arg is what follows the name, white space trimmed from both ends: "", "u", "d.org_id, d.id".
	Arg string
	// Offset and End delimit the directive in the fragment, braces included, in bytes.
	Offset, End int
}

func (d Directive) String() string {
	if d.Arg == "" {
		return "{{" + d.Name + "}}"
	}
	return "{{" + d.Name + " " + d.Arg + "}}"
}

// TemplateError is a directive that cannot be read.
type TemplateError struct {
	// Offset is where in the fragment, in bytes.
	Offset int
	// Found is what is wrong; Expected what should have been there.
	Found, Expected string
}

func (e *TemplateError) Error() string {
	return fmt.Sprintf("%s at offset %d; expected %s", e.Found, e.Offset, e.Expected)
}

// Expand returns sql with every directive replaced by what fn gives for it, in order.
//
// Braces in strings, quoted names, dollar quotes and comments are text and are left
// alone, as PostgreSQL's own lexer delimits them with standard_conforming_strings on.
// Elsewhere {{ always opens a directive, for braces have no other meaning in SQL.
// An error of fn is returned as it is; a directive that cannot be read is a
// *[TemplateError]. A string or comment that is never closed is not an error here:
// what the fragment means is for PostgreSQL's parser to say.
func Expand(sql string, fn func(Directive) (string, error)) (string, error) {
	return ExpandAll(sql, fn, nil)
}

// ExpandAll is [Expand], and also replaces each :name for which param gives a text; with false it stays as it
// is, as do the second half of a cast (x::name) and the colon of a slice, which stands directly behind its lower
// bound (x[1:name]). offset is where the colon stands. A nil param replaces none.
func ExpandAll(sql string, fn func(Directive) (string, error), param func(name string, offset int) (string, bool)) (string, error) {
	var b strings.Builder
	from := 0
	var open brackets
	for i := 0; i < len(sql); {
		open.see(sql[i])
		if name := paramAt(sql, i); name != "" && param != nil && !(open.slicing() && bounds(sql[i-1])) {
			end := i + 1 + len(name)
			if text, ok := param(name, i); ok {
				b.WriteString(sql[from:i])
				b.WriteString(text)
				from = end
			}
			i = end
			continue
		}
		if !strings.HasPrefix(sql[i:], "{{") {
			i = skipToken(sql, i)
			continue
		}
		d, err := readDirective(sql, i)
		if err != nil {
			return "", err
		}
		text, err := fn(d)
		if err != nil {
			return "", err
		}
		b.WriteString(sql[from:i])
		b.WriteString(text)
		i, from = d.End, d.End
	}
	if from == 0 {
		return sql, nil
	}
	b.WriteString(sql[from:])
	return b.String(), nil
}

// paramAt is the name of the parameter that begins at i, or "".
func paramAt(sql string, i int) string {
	if sql[i] != ':' || i > 0 && sql[i-1] == ':' || i+1 == len(sql) {
		return ""
	}
	end := i + 1
	for end < len(sql) && isWord(sql[end]) {
		end++
	}
	if c := sql[i+1]; c >= '0' && c <= '9' { // a slice, a[1:2]
		return ""
	}
	return sql[i+1 : end]
}

// brackets are those that are open, outermost first.
type brackets []byte

func (b *brackets) see(c byte) {
	switch c {
	case '(', '[':
		*b = append(*b, c)
	case ')', ']':
		*b = (*b)[:max(len(*b)-1, 0)]
	}
}

// slicing reports whether a colon here may be that of a slice.
func (b brackets) slicing() bool { return len(b) > 0 && b[len(b)-1] == '[' }

// bounds reports whether a slice's lower bound may end with c.
func bounds(c byte) bool {
	return isWord(c) || c == ')' || c == ']' || c == '\'' || c == '"'
}

// readDirective reads the directive that opens at i.
func readDirective(sql string, i int) (Directive, error) {
	end := directiveEnd(sql, i+2)
	if end < 0 {
		return Directive{}, &TemplateError{Offset: i, Found: "a {{ that is never closed", Expected: "}} before the next {{ and outside of a quoted name"}
	}
	body := strings.TrimSpace(sql[i+2 : end])
	n := 0
	for n < len(body) && (body[n] >= 'a' && body[n] <= 'z' || n > 0 && (body[n] == '_' || body[n] >= '0' && body[n] <= '9')) {
		n++
	}
	if n == 0 || n < len(body) && !isSpace(body[n]) {
		return Directive{}, &TemplateError{Offset: i, Found: "the template " + sql[i:end+2], Expected: "a name in lower case, as in {{range}} or {{range u}}"}
	}
	return Directive{Name: body[:n], Arg: strings.TrimSpace(body[n:]), Offset: i, End: end + 2}, nil
}

// directiveEnd finds the }} that closes a directive whose body starts at i, or -1.
// A quoted name may hold braces; another {{ means that the }} was forgotten.
func directiveEnd(sql string, i int) int {
	for i < len(sql) {
		switch {
		case strings.HasPrefix(sql[i:], "}}"):
			return i
		case strings.HasPrefix(sql[i:], "{{"):
			return -1
		case sql[i] == '"':
			i = skipQuoted(sql, i+1, '"', false)
		default:
			i++
		}
	}
	return -1
}

// skipToken returns the end of the token at i: a whole string, quoted name or comment,
// a word, or one byte of anything else. PostgreSQL's scan.l is the model.
func skipToken(sql string, i int) int {
	c := sql[i]
	switch {
	case c == '\'':
		return skipQuoted(sql, i+1, '\'', false)
	case c == '"':
		return skipQuoted(sql, i+1, '"', false)
	case c == '$':
		return skipDollar(sql, i)
	case strings.HasPrefix(sql[i:], "--"):
		return skipLine(sql, i)
	case strings.HasPrefix(sql[i:], "/*"):
		return skipComment(sql, i)
	case isWord(c):
		end := i
		for end < len(sql) && (isWord(sql[end]) || sql[end] == '$') {
			end++
		}
		// E'it\'s' is the one kind of string in which a backslash hides a quote.
		if end-i == 1 && (c == 'e' || c == 'E') && end < len(sql) && sql[end] == '\'' {
			return skipEscapeString(sql, end+1)
		}
		return end
	}
	return i + 1
}

// skipQuoted returns the end of a quoted text whose inside starts at i. A doubled quote
// needs no care: it closes one text and opens the next.
func skipQuoted(sql string, i int, quote byte, escapes bool) int {
	for i < len(sql) {
		switch {
		case sql[i] == quote:
			return i + 1
		case escapes && sql[i] == '\\':
			i += 2
		default:
			i++
		}
	}
	return len(sql)
}

// skipEscapeString returns the end of E'…' whose inside starts at i, with all its parts:
// a string goes on, under the same rules, in a quote that follows a doubled quote or a
// line break.
func skipEscapeString(sql string, i int) int {
	for {
		i = skipQuoted(sql, i, '\'', true)
		next := i
		if !strings.HasPrefix(sql[i:], "'") {
			if next = continuation(sql, i); next < 0 {
				return i
			}
		}
		i = next + 1
	}
}

// continuation finds the quote that continues a string closed before i: only white
// space and line comments lie between, with at least one line break. -1 is none.
func continuation(sql string, i int) int {
	broken := false
	for i < len(sql) {
		switch {
		case sql[i] == '\n' || sql[i] == '\r':
			broken = true
			i++
		case isSpace(sql[i]):
			i++
		case strings.HasPrefix(sql[i:], "--"):
			i = skipLine(sql, i)
		case sql[i] == '\'' && broken:
			return i
		default:
			return -1
		}
	}
	return -1
}

// skipDollar returns the end of the dollar quote at i, or of the lone $.
func skipDollar(sql string, i int) int {
	end := i + 1
	for end < len(sql) && isWord(sql[end]) {
		end++
	}
	digit := end > i+1 && sql[i+1] >= '0' && sql[i+1] <= '9'
	if digit || end == len(sql) || sql[end] != '$' {
		return end
	}
	tag := sql[i : end+1]
	n := strings.Index(sql[end+1:], tag)
	if n < 0 {
		return len(sql)
	}
	return end + 1 + n + len(tag)
}

func skipLine(sql string, i int) int {
	n := strings.IndexAny(sql[i:], "\r\n")
	if n < 0 {
		return len(sql)
	}
	return i + n
}

// skipComment returns the end of the block comment at i; such comments nest.
func skipComment(sql string, i int) int {
	depth := 0
	for i < len(sql) {
		switch {
		case strings.HasPrefix(sql[i:], "/*"):
			depth++
			i += 2
		case strings.HasPrefix(sql[i:], "*/"):
			depth--
			i += 2
			if depth == 0 {
				return i
			}
		default:
			i++
		}
	}
	return len(sql)
}

// isWord reports whether c may stand in an unquoted name; every byte of a character
// outside ASCII may.
func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'
}
