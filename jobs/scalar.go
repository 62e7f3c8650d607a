package jobs

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgparse"
)

// text is prose.
type text struct {
	value
	text string
}

func (t *text) read(r *reader, n *yaml.Node) { t.text, _ = r.text(n, "text") }

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// jobName is what identifies a job in the database.
type jobName struct {
	value
	text string
}

func (j *jobName) read(r *reader, n *yaml.Node) {
	var ok bool
	if j.text, ok = r.text(n, "a name"); ok && !namePattern.MatchString(j.text) {
		r.refuse(placeOf(n), fmt.Sprintf("the name %q", j.text), "1 to 63 lower-case letters, digits, _ and -, beginning with a letter or digit", "")
	}
}

// text reads a string. What YAML takes for something else is refused: `name: 007` would
// be a number to one reader and a name to the next.
func (r *reader) text(n *yaml.Node, expected string) (string, bool) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		return n.Value, true
	}
	remedy := ""
	if n.Kind == yaml.ScalarNode && n.Value != "" {
		remedy = fmt.Sprintf("write it in quotes: %q", n.Value)
	}
	r.refuse(placeOf(n), describe(n), expected, remedy)
	return "", false
}

// boolean is true or false.
type boolean struct {
	value
	isTrue bool
}

func (b *boolean) read(r *reader, n *yaml.Node) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
		r.refuse(placeOf(n), describe(n), "true or false", "")
		return
	}
	b.isTrue = strings.EqualFold(n.Value, "true")
}

// or is the value, or what holds where it was not written.
func (b boolean) or(otherwise bool) bool {
	if !b.given() {
		return otherwise
	}
	return b.isTrue
}

// onlyTrue is true: false would say nothing.
type onlyTrue struct {
	value
	isTrue bool
}

func (o *onlyTrue) read(r *reader, n *yaml.Node) {
	o.isTrue = n.Kind == yaml.ScalarNode && n.Tag == "!!bool" && strings.EqualFold(n.Value, "true")
	if !o.isTrue {
		r.refuse(placeOf(n), describe(n), "true", "leave it out where it is not meant")
	}
}

// count is a whole number from 1.
type count struct {
	value
	count int
}

func (c *count) read(r *reader, n *yaml.Node) {
	const most = 1_000_000_000
	if n.Kind == yaml.ScalarNode && n.Tag == "!!int" {
		v, err := strconv.Atoi(strings.ReplaceAll(n.Value, "_", ""))
		if err == nil && v >= 1 && v <= most && !leadingZero(n.Value) {
			c.count = v
			return
		}
	}
	r.refuse(placeOf(n), describe(n), "a whole number from 1", "")
}

// fewest is how many writes must have been seen.
type fewest struct{ count }

func (f *fewest) read(r *reader, n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.Value == "0" {
		r.refuse(placeOf(n), describe(n), "a whole number from 1",
			"where nobody writes to the table there is nothing to be seen: somebody does without it in writing, by pgbackfill gate FILE --waive soak --why TEXT --until DATE")
		return
	}
	f.count.read(r, n)
}

// leadingZero reports whether a number would be octal to some readers and not to others.
func leadingZero(number string) bool {
	digits := strings.TrimLeft(number, "+-")
	return len(digits) > 1 && digits[0] == '0' && (digits[1] >= '0' && digits[1] <= '9' || digits[1] == '_')
}

// duration is a time span with its unit.
type duration struct {
	value
	duration time.Duration
}

func (d *duration) read(r *reader, n *yaml.Node) {
	const expected = "a duration with its unit, such as 500ms, 2s or 1m30s"
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		remedy := ""
		if n.Tag == "!!int" {
			remedy = fmt.Sprintf("say which unit: %sms or %ss", n.Value, n.Value)
		}
		r.refuse(placeOf(n), describe(n), expected, remedy)
		return
	}
	v, err := time.ParseDuration(strings.TrimSpace(n.Value))
	switch {
	case err != nil:
		r.refuse(placeOf(n), describe(n), expected, "")
	case v < time.Millisecond || v > 24*time.Hour:
		r.refuse(placeOf(n), "a duration of "+n.Value, "from 1ms to 24h", "there is no unlimited: locks and waits of a backfill are bounded")
	default:
		d.duration = v
	}
}

// rate is rows a second.
type rate struct {
	value
	rate float64
}

func (v *rate) read(r *reader, n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && slices.Contains([]string{"!!int", "!!float", "!!str"}, n.Tag) && !leadingZero(n.Value) {
		number := strings.TrimSpace(strings.TrimSuffix(n.Value, "/s"))
		f, err := strconv.ParseFloat(strings.ReplaceAll(number, "_", ""), 64)
		if err == nil && f > 0 && !math.IsInf(f, 0) && !math.IsNaN(f) {
			v.rate = f
			return
		}
	}
	r.refuse(placeOf(n), describe(n), `rows a second, as in 5000 or "5000/s"`, "leave `rate` out for no limit")
}

// walk is how the table is walked.
type walk struct {
	value
	kind backfill.WalkKind
}

func (w *walk) read(r *reader, n *yaml.Node) {
	name, ok := r.text(n, "key, heap or auto")
	switch kind := backfill.WalkKind(name); {
	case !ok || kind == backfill.WalkAuto: // auto is what it is when nothing is said
	case kind == backfill.WalkKey || kind == backfill.WalkHeap:
		w.kind = kind
	default:
		r.refuse(placeOf(n), describe(n), "key, heap or auto", "")
	}
}

// columns is one name of a column or a list of them.
type columns struct {
	value
	names []string
}

func (c *columns) read(r *reader, n *yaml.Node) {
	list := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		list = n.Content
		if len(list) == 0 {
			r.refuse(placeOf(n), "an empty list", "at least one column", "leave the field out for its default")
		}
	}
	for _, item := range list {
		name, ok := r.text(item, "a column's name, or a list of them")
		if !ok || !r.columnName(item, name) {
			continue
		}
		if slices.Contains(c.names, name) {
			r.refuse(placeOf(item), "the column `"+name+"` again", "each column once", "")
			continue
		}
		c.names = append(c.names, name)
	}
}

// columnName checks a plain name, which the engine quotes.
func (r *reader) columnName(n *yaml.Node, name string) bool {
	switch {
	case name == "" || strings.ContainsRune(name, 0):
		r.refuse(placeOf(n), describe(n), "a column's name", "")
	case len(name) > pgparse.MaxNameBytes:
		r.refuse(placeOf(n), fmt.Sprintf("a name of %d bytes", len(name)), fmt.Sprintf("at most %d, as PostgreSQL has it", pgparse.MaxNameBytes), "")
	case strings.HasPrefix(name, "t.") || len(name) > 1 && strings.HasPrefix(name, `"`) && strings.HasSuffix(name, `"`):
		r.refuse(placeOf(n), describe(n), "a column's plain name, not SQL",
			"write "+strings.Trim(strings.TrimPrefix(name, "t."), `"`)+": names of columns are quoted by the engine")
	default:
		return true
	}
	return false
}
