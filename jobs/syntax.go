package jobs

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

var (
	yamlMessage = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)
	yamlAnchor  = regexp.MustCompile(`unknown anchor '(.*)' referenced`)
	blockScalar = regexp.MustCompile(`[:\-]\s+[|>][-+0-9]*(\s+#.*)?$`)
)

// explained are the messages of the YAML library that people meet, by a part of them,
// with what was expected and what to do.
var explained = []struct{ message, expected, remedy string }{
	{"did not find expected key", "fields of one mapping, indented alike", "indent it like the fields it belongs to"},
	{"',' or ']'", "a ] that closes the list", ""},
	{"',' or '}'", "a } that closes the mapping", ""},
	{"mapping values are not allowed", "one `: ` in a line", "indent fields of one mapping alike, and write a value that holds `: ` in quotes or after a |"},
	{"could not find expected ':'", "a field, as in `name: value`", ""},
	{"cannot start any token", "a value", "a value that begins with @, ` or % is written in quotes"},
	{"unexpected end of stream", "the quote that closes the text", ""},
	{"<document start>", "--- before the next job", ""},
}

// syntax reports what the YAML library could not read. It says a line at most, and counts
// from 0 in the messages of its parser and from 1 in those of its scanner.
func (r *reader) syntax(err error) {
	m := yamlMessage.FindStringSubmatch(err.Error())
	if m == nil {
		r.refuse(place{1, 1}, err.Error(), "", "")
		return
	}
	if a := yamlAnchor.FindStringSubmatch(m[2]); a != nil {
		at := place{1, 1}
		if before, _, found := strings.Cut(string(r.source.text), "*"+a[1]); found {
			at = r.source.place(utf8.RuneCountInString(before))
		}
		r.refuse(at, "the alias *"+a[1], "the value itself", "write the value out: a job is reviewed where it is read")
		return
	}
	line, _ := strconv.Atoi(m[1])
	if strings.HasPrefix(m[2], "did not find expected") {
		line++
	}
	at := r.within(place{line, 1})
	if strings.Contains(m[2], "expected key") {
		at.line = r.misindented(at.line)
	}
	text := r.source.line(at.line)
	indent := indentation(text)
	if tab := strings.IndexByte(text[:indent], '\t'); tab >= 0 {
		r.refuse(place{at.line, tab + 1}, "a tab in the indentation", "spaces", "indent YAML with spaces")
		return
	}
	at.column = indent + 1
	for _, e := range explained {
		if strings.Contains(m[2], e.message) {
			r.refuse(at, "YAML that cannot be read ("+m[2]+")", e.expected, e.remedy)
			return
		}
	}
	r.refuse(at, "YAML that cannot be read ("+m[2]+")", "", "")
}

// misindented is the first line from the given one on that is indented less than the line
// before it and like none above: the library names the line where the mapping began.
func (r *reader) misindented(from int) int {
	var open []int
	scalar := -1 // the indentation of the block scalar we are in; 0 until its first line
	for n := from; n <= len(r.source.starts); n++ {
		text := r.source.line(n)
		indent := indentation(text)
		if indent == len(text) {
			continue
		}
		if scalar == 0 && len(open) > 0 && indent > open[len(open)-1] {
			scalar = indent
		}
		if scalar > 0 && indent >= scalar || text[indent] == '#' {
			continue
		}
		scalar = -1
		popped := false
		for len(open) > 0 && open[len(open)-1] > indent {
			open, popped = open[:len(open)-1], true
		}
		if len(open) == 0 || open[len(open)-1] < indent {
			if popped && len(open) > 0 {
				return n
			}
			open = append(open, indent)
		}
		if blockScalar.MatchString(text) {
			scalar = 0
		}
	}
	return from
}

// indentation is how many bytes of white space a line begins with.
func indentation(text string) int { return len(text) - len(strings.TrimLeft(text, " \t")) }
