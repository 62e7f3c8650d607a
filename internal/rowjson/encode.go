package rowjson

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"unicode/utf8"
)

// AppendName adds what stands before a value: the name and the colon.
func AppendName(b []byte, name string) []byte { return append(AppendString(b, name), ':') }

// AppendValue adds a value in the form of its kind. It is given as the server prints it: bytes in hexadecimal without
// a prefix, times as to_json has them, everything else in text form. Nil is NULL; for JSON the caller leaves the whole
// member out.
func (k Kind) AppendValue(b, value []byte) ([]byte, error) {
	if value == nil {
		return append(b, "null"...), nil
	}
	switch k {
	case Number, Float:
		return k.appendNumber(b, value), nil
	case Bool:
		if string(value) == "t" {
			return append(b, "true"...), nil
		}
		return append(b, "false"...), nil
	case Bytes:
		raw := make([]byte, hex.DecodedLen(len(value)))
		if _, err := hex.Decode(raw, value); err != nil {
			return b, fmt.Errorf("the server's bytes: %w", err)
		}
		return append(base64.StdEncoding.AppendEncode(append(b, '"'), raw), '"'), nil
	case Time:
		return append(b, value...), nil
	case JSON:
		start := len(b)
		b = append(b, value...)
		for i := start; i < len(b); i++ {
			if b[i] == '\n' || b[i] == '\r' { // it is white space: within strings it must be written \n
				b[i] = ' '
			}
		}
		return b, nil
	}
	return appendString(b, value), nil
}

func (k Kind) appendNumber(b, value []byte) []byte {
	digits := value
	if len(digits) > 1 && digits[0] == '-' {
		digits = digits[1:]
	}
	if digits[0] < '0' || digits[0] > '9' { // NaN, Infinity
		return appendString(b, value)
	}
	b = append(b, value...)
	if k == Float && string(value) == "-0" {
		b = append(b, ".0"...) // else it may be read as the integer, which has no -0
	}
	return b
}

// AppendString adds a JSON string.
func AppendString(b []byte, s string) []byte { return appendString(b, s) }

const hexDigits = "0123456789abcdef"

func appendString[S ~string | ~[]byte](b []byte, s S) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(b, s[from:]...), '"')
}

// Excerpt is the beginning of a line, for an error.
func Excerpt(line []byte) string {
	const most = 80
	text := string(line)
	if len(text) > most {
		text = text[:most]
		for len(text) > 0 && !utf8.ValidString(text) && len(text) > most-utf8.UTFMax {
			text = text[:len(text)-1]
		}
		text += "…"
	}
	return fmt.Sprintf("%q", text)
}
