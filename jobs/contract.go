package jobs

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgparse"
)

// droppedColumns are columns with their tables, as SQL names them: users.full_name.
type droppedColumns struct {
	value
	list []backfill.Dropped
}

func (d *droppedColumns) read(r *reader, n *yaml.Node) {
	const expected = "columns with their tables, as in [users.full_name]"
	r.list(n, expected, func(item *yaml.Node) {
		sql, ok := r.text(item, "a column with its table, as in users.full_name")
		if !ok {
			return
		}
		if one, ok := r.dropped(item, sql); ok {
			d.list = append(d.list, one)
		}
	})
}

// dropped is one column.
func (r *reader) dropped(n *yaml.Node, sql string) (backfill.Dropped, bool) {
	const expected = "a column with its table, as in users.full_name or public.users.full_name"
	named, err := pgparse.Columns(sql)
	var e *pgparse.Error
	switch {
	case errors.As(err, &e):
		r.refuse(r.source.within(n, e.Offset), e.Found, expected, e.Remedy)
		return backfill.Dropped{}, false
	case len(named) > 1:
		r.refuse(placeOf(n), fmt.Sprintf("%d columns in one item", len(named)), "one", "write each as an item of its own")
		return backfill.Dropped{}, false
	case len(named[0]) == 2:
		return backfill.Dropped{Table: backfill.TableName{Name: named[0][0]}, Column: named[0][1]}, true
	case len(named[0]) == 3:
		return backfill.Dropped{Table: backfill.TableName{Schema: named[0][0], Name: named[0][1]}, Column: named[0][2]}, true
	}
	r.refuse(placeOf(n), describe(n), expected, "")
	return backfill.Dropped{}, false
}

// span is a time span that may be days: 36h, 7d.
type span struct {
	value
	duration time.Duration
}

// longestSpan is how long anything is remembered for: a year.
const longestSpan = 365 * 24 * time.Hour

func (s *span) read(r *reader, n *yaml.Node) {
	const expected = "a duration with its unit, such as 30m, 24h or 7d"
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		remedy := ""
		if n.Tag == "!!int" {
			remedy = fmt.Sprintf("say which unit: %sh or %sd", n.Value, n.Value)
		}
		r.refuse(placeOf(n), describe(n), expected, remedy)
		return
	}
	text := strings.TrimSpace(n.Value)
	v, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var count int
		count, err = strconv.Atoi(days)
		v = time.Duration(min(max(count, -1), 1000)) * 24 * time.Hour
	}
	switch {
	case err != nil:
		r.refuse(placeOf(n), describe(n), expected, "")
	case v < time.Second || v > longestSpan:
		r.refuse(placeOf(n), "a duration of "+text, "from 1s to 365d", "")
	default:
		s.duration = v
	}
}

// or is the value, or what holds where it was not written.
func (s span) or(otherwise time.Duration) time.Duration {
	if s.duration == 0 {
		return otherwise
	}
	return s.duration
}

// contract checks what the contract migration needs; nil where nothing is said.
func (r *reader) contract(f file) *backfill.Contract {
	c := f.Contract
	if !c.given() || c.node.Kind != yaml.MappingNode {
		return nil
	}
	out := &backfill.Contract{
		Drops: c.Drops.list, Soak: c.Soak.or(backfill.DefaultSoak), MinWrites: backfill.DefaultMinWrites,
		ReportMaxAge: c.ReportMaxAge.or(backfill.DefaultReportMaxAge), Line: c.node.Line,
	}
	if c.MinWrites.given() {
		out.MinWrites = c.MinWrites.count.count
	}
	r.dropsTwice(c)
	r.dropsKept(f)
	if c.Backup.given() {
		query := r.query(c.Backup.SQL, around{}.at("`contract.backup`"))
		if query != nil {
			out.Backup = &backfill.Backup{Query: *query, MaxAge: c.Backup.MaxAge.or(backfill.DefaultBackupMaxAge)}
		}
	}
	return out
}

func (r *reader) dropsTwice(c contract) {
	for i, d := range c.Drops.list {
		if slices.Contains(c.Drops.list[:i], d) {
			r.refuse(placeOf(c.Drops.node), "`drops` with "+d.String()+" twice", "each column once", "")
			return
		}
	}
}

// dropsKept refuses to drop what the job has just filled, or walks by.
func (r *reader) dropsKept(f file) {
	for _, d := range f.Contract.Drops.list {
		if d.Table.Name != f.Table.name.Name || d.Table.Schema != "" && f.Table.name.Schema != "" && d.Table.Schema != f.Table.name.Schema {
			continue
		}
		filled := slices.Contains(f.Transform.Write.names, d.Column) || slices.ContainsFunc(f.Update.Set.list, func(a assignment) bool { return a.column == d.Column })
		if filled {
			r.refuse(placeOf(f.Contract.Drops.node), "`drops` with "+d.String()+", which the job fills", "the old columns", "a contract migration drops what the new columns replace")
		}
	}
}
