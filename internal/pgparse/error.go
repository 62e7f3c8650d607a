package pgparse

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Error says why a fragment is not what belongs in its place.
type Error struct {
	// Offset is where in the fragment, in bytes; its length is its end.
	Offset int
	// Found is what is wrong, Expected what should have been there, Remedy what to do;
	// the last two may be empty.
	Found, Expected, Remedy string
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s at offset %d", e.Found, e.Offset)
	if e.Expected != "" {
		s += "; expected " + e.Expected
	}
	if e.Remedy != "" {
		s += " (" + e.Remedy + ")"
	}
	return s
}

// parserError translates what the parser said of text, in which the fragment begins at from.
func (f *fragment) parserError(err error, text string, from int) *Error {
	message, character := complaint(err)
	if strings.Contains(message, "recursion depth") || strings.Contains(message, "memory exhausted") {
		return f.wrong(0, "SQL that is nested too deeply", "put the values into a table and join it by `from`")
	}
	remedy := ""
	if f.many { // DDL, of which newer servers know more
		remedy = "mend it; what is newer than PostgreSQL 17, as VIRTUAL, NOT ENFORCED and WITHOUT OVERLAPS, is not known here: " +
			"leave it to your migration tool, or write DO $$ BEGIN EXECUTE '…'; END $$"
	}
	e := f.wrong(len(f.sql), message, remedy)
	if character > 0 {
		e.Offset = min(max(byteOffset(text, character-1)-from, 0), len(f.sql))
	}
	return e
}

// byteOffset is where the n-th character of text begins.
func byteOffset(text string, n int) int {
	at := 0
	for ; n > 0 && at < len(text); n-- {
		_, size := utf8.DecodeRuneInString(text[at:])
		at += size
	}
	return at
}
