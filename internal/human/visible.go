package human

import (
	"fmt"
	"strings"
	"unicode"
)

// Visible is text as it may be sent to a terminal: characters that would steer it (escape sequences, carriage returns) or turn the
// direction of what follows are written as \x1b, \u202e. Lines and tabs stay, and so does all other text.
func Visible(text string) string {
	if !strings.ContainsFunc(text, steers) {
		return text
	}
	var b strings.Builder
	for i, c := range text {
		switch {
		case c == '\r' && strings.HasPrefix(text[i+1:], "\n"):
			b.WriteRune(c) // the end of a line of a file from Windows
		case !steers(c):
			b.WriteRune(c)
		case c < 0x100:
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			fmt.Fprintf(&b, `\u%04x`, c)
		}
	}
	return b.String()
}

// steers reports whether a character does something to a terminal beside standing there.
func steers(c rune) bool {
	return unicode.IsControl(c) && c != '\n' && c != '\t' || unicode.Is(unicode.Bidi_Control, c)
}
