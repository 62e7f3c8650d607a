package report

import (
	"bytes"
	_ "embed" // the page
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/human"
)

//go:embed page.html
var page string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"count": human.Count, "plural": human.Plural, "at": at, "duration": func(s float64) string { return human.Duration(time.Duration(s * float64(time.Second))) },
	"values": values, "lines": func(l []string) string { return strings.Join(l, "; ") }, "word": word, "classes": classes,
	"percent": func(p *float64) string { return human.Percent(*p) },
}).Parse(page))

// HTML is the report as one page that needs nothing else: no script, no font, no picture of anywhere.
func (r Report) HTML() ([]byte, error) {
	drawn, err := r.charts()
	if err != nil {
		return nil, fmt.Errorf("drawing the charts: %w", err)
	}
	var b bytes.Buffer
	err = pageTemplate.Execute(&b, struct {
		Report
		Charts []chart
	}{r.whole(), drawn})
	return b.Bytes(), err
}

func trimmed(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }

// at is a moment; of a nil one a dash.
func at(t any) string {
	switch t := t.(type) {
	case time.Time:
		if !t.IsZero() {
			return t.UTC().Format("2006-01-02 15:04:05 UTC")
		}
	case *time.Time:
		if t != nil {
			return at(*t)
		}
	}
	return "–"
}

// values are a key, or values of a row, for people.
func values(list []*string) string {
	var texts []string
	for _, v := range list {
		if v == nil {
			texts = append(texts, "NULL")
			continue
		}
		texts = append(texts, *v)
	}
	return strings.Join(texts, ", ")
}

// word is an identifier of ours for people.
func word(s string) string { return strings.ReplaceAll(s, "_", " ") }

// class is how many mismatches a class has.
type class struct {
	Name string
	N    int64
}

// classes are in the order of their numbers, the greatest first.
func classes(counts map[string]int64) []class {
	var list []class
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, class{name, counts[name]})
	}
	slices.SortStableFunc(list, func(a, b class) int { return int(min(max(b.N-a.N, -1), 1)) })
	return list
}
