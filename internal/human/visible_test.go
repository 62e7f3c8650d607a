package human_test

import (
	"testing"

	"github.com/pgbackfill/pgbackfill/internal/human"
)

// What would steer a terminal is shown; letters of all languages, lines and tabs are as they were.
// Made to fail: without Bidi_Control.
func TestVisible(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain, é, e\u0301, שלום, \u200b|\n\t.": "plain, é, e\u0301, שלום, \u200b|\n\t.",
		"a\x1b[2Jb\rc\r\n":                      `a\x1b[2Jb\x0dc` + "\r\n",
		"user\u202etxt.exe \u009b31m":           `user\u202etxt.exe \x9b31m`,
	} {
		if got := human.Visible(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}
