package configs

import (
	"fmt"
	"io"
)

// DSN is a connection string and where it was said. It may hold a password, so that no way
// of printing it shows any of it: only [DSN.Reveal] does.
type DSN struct{ text, origin string }

// NewDSN makes a DSN; origin is where it was said: "--dsn", "DATABASE_URL".
func NewDSN(text, origin string) DSN { return DSN{text: text, origin: origin} }

// Reveal is the connection string itself.
func (d DSN) Reveal() string { return d.text }

// Origin is where the connection string was said; "" where none was.
func (d DSN) Origin() string { return d.origin }

// String says where the connection string was said, and nothing of it.
func (d DSN) String() string {
	if d.text == "" {
		return "(libpq's variables)"
	}
	return "(not shown, from " + d.origin + ")"
}

// Format keeps every verb of package fmt from the text.
func (d DSN) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, d.String()) }

// MarshalText keeps every encoding from the text.
func (d DSN) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
