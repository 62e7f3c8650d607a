package backfill

import (
	"strings"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
	"github.com/pgbackfill/pgbackfill/internal/rowjson"
)

// batch is rows of a chunk on their way through a transform.
type batch struct {
	*transforming
	sql *pgsql.Transform
	// versions name the version of each row that was read, column by column: see [pgsql.Rows].
	versions [][]*string
	// lines is what is sent, a line a row, and ends where each line ends. Of each row keyAt has, for every part of the
	// key, where its value begins and ends in lines; -1 is one that is not there.
	lines []byte
	ends  []int
	keyAt []int
	// out are the values that came back, a row each; nil is none yet.
	out [][]*string
	// bytes is what all of this takes, about.
	bytes int
	// err is the first thing that went wrong while rows came in.
	err error
}

func (t *transforming) batch(sql *pgsql.Transform) *batch {
	return &batch{transforming: t, sql: sql, versions: make([][]*string, sql.Named())}
}

func (b *batch) rows() int { return len(b.ends) }

// rowOverhead is what a row takes besides its values, in bytes.
const rowOverhead = 200

// add takes a row as [pgsql.Transform.Select] answers it. The values are copied.
func (b *batch) add(values [][]byte) {
	if b.err != nil {
		return
	}
	key := len(b.plan.Key)
	named := len(b.versions)
	for i := range named {
		form := pgsql.AsText
		if at := i - (named - key); !b.sql.ByRow && at >= 0 {
			form = b.sql.KeyForms[at]
		}
		b.versions[i] = append(b.versions[i], readable(form, values[i]))
	}
	if !b.sql.ByRow { // the key is what names the row
		named -= key
	}
	start := len(b.lines)
	b.lines = append(b.lines, '{')
	for i, value := range values[named:] {
		at := []int{-1, -1}
		if m := b.sent[i]; value != nil || m.kind != rowjson.JSON {
			if len(b.lines) > start+1 {
				b.lines = append(b.lines, ',')
			}
			b.lines = append(b.lines, m.label...)
			at[0] = len(b.lines)
			if b.lines, b.err = m.kind.AppendValue(b.lines, value); b.err != nil {
				return
			}
			at[1] = len(b.lines)
		}
		if i < key {
			b.keyAt = append(b.keyAt, at...)
		}
	}
	b.lines = append(b.lines, '}', '\n')
	b.ends = append(b.ends, len(b.lines))
	b.out = append(b.out, nil)
	b.bytes += len(b.lines) - start + rowOverhead
}

// readable is a value that was handed over in a form, as PostgreSQL reads it; nil is NULL.
func readable(form pgsql.Form, value []byte) *string {
	if value == nil {
		return nil
	}
	text := string(value)
	switch form {
	case pgsql.AsHex:
		text = `\x` + text
	case pgsql.AsTime:
		text = strings.Trim(text, `"`)
	}
	return &text
}

// line is what is sent for a row, with its line feed.
func (b *batch) line(i int) []byte {
	if i == 0 {
		return b.lines[:b.ends[0]]
	}
	return b.lines[b.ends[i-1]:b.ends[i]]
}

// key is the JSON of each part of a row's key; nil is one that is not there.
func (b *batch) key(i int) [][]byte {
	parts := make([][]byte, len(b.plan.Key))
	for k := range parts {
		if at := b.keyAt[2*(i*len(parts)+k):]; at[0] >= 0 {
			parts[k] = b.lines[at[0]:at[1]]
		}
	}
	return parts
}

// place says which row it is, for people.
func (b *batch) place(i int) string {
	parts := make([]string, len(b.plan.Key))
	for k, v := range b.key(i) {
		parts[k] = strings.Trim(string(v), `"`)
	}
	return Key(parts).String()
}

// name is the version of a row that was read, in one string.
func (b *batch) name(i int) string {
	parts := make([]*string, len(b.versions))
	for k := range parts {
		parts[k] = b.versions[k][i]
	}
	return versionName(parts)
}

func versionName(parts []*string) string {
	var s strings.Builder
	for _, p := range parts {
		if p == nil {
			s.WriteByte(1)
		} else {
			s.WriteString(*p)
		}
		s.WriteByte(0)
	}
	return s.String()
}

// byName is where each version is.
func (b *batch) byName() map[string]int {
	m := make(map[string]int, b.rows())
	for i := range b.rows() {
		m[b.name(i)] = i
	}
	return m
}

// takeOver takes what came back for those rows that are as they were in an earlier reading.
func (b *batch) takeOver(earlier *batch) {
	if earlier == nil {
		return
	}
	at := earlier.byName()
	for i := range b.rows() {
		if k, ok := at[b.name(i)]; ok {
			b.out[i] = earlier.out[k]
		}
	}
}

// missing are the rows for which nothing has come back.
func (b *batch) missing() []int {
	var list []int
	for i, out := range b.out {
		if out == nil {
			list = append(list, i)
		}
	}
	return list
}

// located is a row of a batch.
type located struct {
	*batch
	i int
}

// columns are rows, and what came back for them, column by column.
func columns(list []located, named, returned int) (pgsql.Rows, [][]*string) {
	versions, out := make([][]*string, named), make([][]*string, returned)
	for k := range versions {
		versions[k] = make([]*string, len(list))
		for n, at := range list {
			versions[k][n] = at.versions[k][at.i]
		}
	}
	for k := range out {
		out[k] = make([]*string, len(list))
		for n, at := range list {
			out[k][n] = at.out[at.i][k]
		}
	}
	return pgsql.Rows{Columns: versions}, out
}

// all are all rows of a batch.
func (b *batch) all() []located {
	list := make([]located, b.rows())
	for i := range list {
		list[i] = located{b, i}
	}
	return list
}
