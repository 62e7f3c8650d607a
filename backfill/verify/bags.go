package verify

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// bagsProof compares two queries.
type bagsProof struct {
	check Check
	job   backfill.Job
	bags  pgsql.Bags
}

func (b *bagsProof) finding() []pgsql.Setting { return joined }

func (b *bagsProof) prepare(ctx context.Context, r *reading) error {
	part := pgsql.Part{Reading: true}
	var fields [2][]pgconn.FieldDescription
	for i, sql := range []string{b.bags.Expected, b.bags.Actual} {
		st, err := pgsql.Query{Scope: b.bags.Scope, SQL: sql}.Statement(part)
		if err != nil {
			return err
		}
		if fields[i], err = r.prepared(ctx, st); err != nil {
			return err
		}
	}
	if err := b.same(names(fields[0]), names(fields[1])); err != nil {
		return err
	}
	b.bags.Casts = make([]string, len(fields[0]))
	for i, actual := range fields[1] {
		if !storedOtherwise(fields[0][i], actual) {
			continue
		}
		name, err := r.ask(ctx, pgsql.TypeName(actual.DataTypeOID, actual.TypeModifier))
		if err != nil {
			return err
		}
		b.bags.Casts[i] = *name[0][0]
	}
	st, err := b.bags.Proof(part)
	if err != nil {
		return err
	}
	_, err = r.prepared(ctx, st)
	return err
}

// storedOtherwise reports whether a value of the first column would be given another precision when it is stored in the
// second. Other types find what they have in common by themselves, or are refused.
func storedOtherwise(expected, actual pgconn.FieldDescription) bool {
	const numericOID, int2OID, int4OID, int8OID = 1700, 21, 23, 20
	if actual.TypeModifier < 0 || expected.TypeModifier == actual.TypeModifier {
		return false
	}
	return expected.DataTypeOID == actual.DataTypeOID ||
		actual.DataTypeOID == numericOID && slices.Contains([]uint32{int2OID, int4OID, int8OID}, expected.DataTypeOID)
}

func names(fields []pgconn.FieldDescription) []string {
	list := make([]string, len(fields))
	for i, f := range fields {
		list[i] = f.Name
	}
	return list
}

// same refuses queries whose columns are not the same.
func (b *bagsProof) same(expected, actual []string) error {
	place := whereIn(b.job, b.check.line)
	if len(expected) < len(b.bags.Key) {
		return backfill.Inputf(place, "select the key first: it is what says which row is missing",
			"check %s: the queries have %d columns, and the key alone has %d", b.check.Name, len(expected), len(b.bags.Key))
	}
	if fmt.Sprint(expected) != fmt.Sprint(actual) {
		return backfill.Inputf(place, "give both the same columns, in the same order and under the same names (AS)",
			"check %s: the columns of expected are %q, those of actual %q", b.check.Name, expected, actual)
	}
	return nil
}

func (b *bagsProof) count(ctx context.Context, r *reading, p pgsql.Part) (counts, error) {
	var c counts
	if err := walked(ctx, r, b.bags.Walk, p, &c.rows); err != nil {
		return c, err
	}
	st, err := b.bags.Proof(p)
	if err != nil {
		return c, err
	}
	rows, err := r.ask(ctx, st)
	if err != nil {
		return c, err
	}
	return c, integers(rows, &c.expected, &c.actual, &c.missing, &c.extra, &c.different)
}

func (b *bagsProof) wrong(ctx context.Context, r *reading, p pgsql.Part, most int, values bool) ([]Mismatch, error) {
	st, err := b.bags.Wrong(p, most, values)
	if err != nil {
		return nil, err
	}
	rows, err := r.ask(ctx, st)
	if err != nil {
		return nil, err
	}
	keys := len(b.bags.Key)
	list := make([]Mismatch, len(rows))
	for i, row := range rows {
		var missing, extra int64
		if err := integers([][]*string{row[keys : keys+2]}, &missing, &extra); err != nil {
			return nil, err
		}
		m := Mismatch{Kind: Different, Key: row[:keys], Rows: max(missing, extra)}
		switch {
		case extra == 0:
			m.Kind = Missing
		case missing == 0:
			m.Kind = Extra
		}
		if values {
			m.Expected, m.Actual = row[keys+2:keys+3], row[keys+3:keys+4]
		}
		list[i] = m
	}
	return list, nil
}
