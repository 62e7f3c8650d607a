package backfill

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// word is what may be a name in SQL: one that stands bare, or one in quotes.
var word = regexp.MustCompile(`"(?:[^"]|"")+"|[\pL_][\pL\pN_$]*`)

// Names are the words of the job's SQL in lower case, in order and each once, its checks' too: the names of all functions that
// it calls are among them, and of all else that it mentions.
func (j Job) Names() []string {
	list := j.exprs()
	for _, c := range j.Verify {
		for _, a := range c.Expect {
			list = append(list, a.Value)
		}
		for _, e := range []*Expr{c.Expected, c.Actual, c.None} {
			if e != nil {
				list = append(list, *e)
			}
		}
	}
	found := map[string]bool{}
	for _, e := range list {
		for _, w := range word.FindAllString(e.SQL, -1) {
			if quoted, is := strings.CutPrefix(w, `"`); is {
				w = strings.ReplaceAll(strings.TrimSuffix(quoted, `"`), `""`, `"`)
			}
			found[strings.ToLower(w)] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}
