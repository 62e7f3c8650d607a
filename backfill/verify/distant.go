package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// distantLooks is how often rows that differ are looked at again before they are given up as hot.
const distantLooks = 5

// distantProof compares a query in another database with one here. There is no moment that both show; so what differs is
// read again until both sides stand still, and only then said to be wrong. What does not stand still is hot: not judged.
type distantProof struct {
	check            Check
	job              backfill.Job
	connect          backfill.Connect
	options          Options
	expected, actual pgsql.Distant
}

func newDistantProof(o Options, c Check, scope pgsql.Scope) (*distantProof, error) {
	place := whereIn(o.Plan.Job, c.line)
	connect := o.Databases[c.spec.In]
	if connect == nil {
		return nil, backfill.Inputf(place, fmt.Sprintf("say where it is: databases: {%[1]s: …} in the configuration, or --database %[1]s=CONNECTION", c.spec.In), "expected … in: %s, and no database of that name is known", c.spec.In)
	}
	for _, t := range c.spec.Expected.Templates {
		if t != "range" && !strings.HasPrefix(t, "range ") {
			return nil, backfill.Inputf(place, "use {{range}} alone", "expected … in: %s speaks of {{%s}}, which is not in that database", c.spec.In, t)
		}
	}
	if o.Plan.Heap != nil {
		return nil, backfill.Inputf(place, "give the table a key", "expected … in: %s is compared by ranges of the key, and the table has none", c.spec.In)
	}
	d := func(sql string) pgsql.Distant {
		return pgsql.Distant{Query: pgsql.Query{Scope: scope, SQL: sql}, Keys: len(scope.Key)}
	}
	return &distantProof{check: c, job: o.Plan.Job, connect: connect, options: o, expected: d(c.spec.Expected.SQL), actual: d(c.spec.Actual.SQL)}, nil
}

func (d *distantProof) finding() []pgsql.Setting { return joined }

// there calls f in a transaction in the other database, or with again in one here that is newer than the part's.
func (d *distantProof) there(ctx context.Context, r *reading, again bool, f func(*reading) error) error {
	connect, name := d.connect, d.check.spec.In
	if again {
		connect, name = d.options.Connect, ""
	}
	return r.session.other(name, connect, d.options).job(ctx, joined, f)
}

func (d *distantProof) prepare(ctx context.Context, r *reading) error {
	part := pgsql.Part{Reading: true}
	describe := func(r *reading, q *pgsql.Distant) (order string, err error) {
		st, err := q.Statement(part)
		if err != nil {
			return "", err
		}
		fields, err := r.prepared(ctx, st)
		if err != nil {
			return "", err
		}
		q.Columns = names(fields)
		rows, err := r.ask(ctx, pgsql.DatabaseOrder)
		if err != nil {
			return "", err
		}
		return *rows[0][0], nil
	}
	here, err := describe(r, &d.actual)
	if err != nil {
		return err
	}
	var order string
	err = d.there(ctx, r, false, func(r *reading) (err error) {
		order, err = describe(r, &d.expected)
		return err
	})
	if err != nil {
		return fmt.Errorf("in the database %s: %w", d.check.spec.In, err)
	}
	bags := bagsProof{check: d.check, job: d.job, bags: pgsql.Bags{Scope: d.actual.Scope}}
	if err := bags.same(d.expected.Columns, d.actual.Columns); err != nil {
		return err
	}
	return d.ordered(here, order)
}

// ordered refuses keys that the two databases may order in two ways: a range would be other rows there.
func (d *distantProof) ordered(here, there string) error {
	plain := func(order string) bool {
		return slices.Contains([]string{"C", "POSIX", "C.UTF-8", "C.utf8", "ucs_basic"}, order)
	}
	for _, k := range d.actual.Key {
		_, name, _ := strings.Cut(strings.ReplaceAll(k.Collation, `"`, ""), ".")
		if k.Collation == "" || plain(name) || name == "default" && plain(here) && plain(there) {
			continue
		}
		return backfill.Inputf(whereIn(d.job, d.check.line), "walk by a key that is no text, or whose collation is C",
			"expected … in: %s: the key %s is ordered by a collation (%s here, %s there), which may be another order in another database", d.check.spec.In, k.Name, here, there)
	}
	return nil
}

// sum is the answer of [pgsql.Distant.Sum].
func sum(ctx context.Context, r *reading, q pgsql.Distant, p pgsql.Part) (rows int64, hash string, err error) {
	st, err := q.Sum(p)
	if err != nil {
		return 0, "", err
	}
	answer, err := r.ask(ctx, st)
	if err != nil {
		return 0, "", err
	}
	return rows, *answer[0][1], integers([][]*string{answer[0][:1]}, &rows)
}

func (d *distantProof) count(ctx context.Context, r *reading, p pgsql.Part) (counts, error) {
	var c counts
	r.distant = nil
	if err := walked(ctx, r, d.actual.Walk, p, &c.rows); err != nil {
		return c, err
	}
	var here, there string
	var err error
	if c.actual, here, err = sum(ctx, r, d.actual, p); err != nil {
		return c, err
	}
	err = d.there(ctx, r, false, func(r *reading) (err error) {
		c.expected, there, err = sum(ctx, r, d.expected, p)
		return err
	})
	if err != nil || c.expected == c.actual && here == there {
		return c, err
	}
	suspects, err := d.suspects(ctx, r, p)
	if err != nil {
		return c, err
	}
	if r.distant, c.hot, err = d.confirm(ctx, r, p, suspects); err != nil {
		return c, err
	}
	for _, m := range r.distant {
		switch m.Kind {
		case Missing:
			c.missing += m.Rows
		case Extra:
			c.extra += m.Rows
		default:
			c.different += m.Rows
		}
	}
	return c, nil
}

func (d *distantProof) wrong(_ context.Context, r *reading, _ pgsql.Part, most int, _ bool) ([]Mismatch, error) {
	return r.distant[:min(len(r.distant), most)], nil
}

// suspects are the keys at which the two sides differ, each read once: first by sums over parts, then by rows.
func (d *distantProof) suspects(ctx context.Context, r *reading, p pgsql.Part) ([]string, error) {
	sums := func(r *reading, q pgsql.Distant) (map[string]string, error) {
		st, err := q.Sums(p)
		if err != nil {
			return nil, err
		}
		rows, err := r.ask(ctx, st)
		list := map[string]string{}
		for _, row := range rows {
			list[*row[0]] = *row[1] + " " + *row[2]
		}
		return list, err
	}
	here, err := sums(r, d.actual)
	if err != nil {
		return nil, err
	}
	var there map[string]string
	err = d.there(ctx, r, false, func(r *reading) (err error) {
		there, err = sums(r, d.expected)
		return err
	})
	if err != nil {
		return nil, err
	}
	in := func(q pgsql.Distant) (pgsql.Statement, error) { return q.In(p, differingKeys(here, there)) }
	pair, err := d.look(ctx, r, in)
	return differingKeys(pair.there.hashes, pair.here.hashes), err
}

// differingKeys are those at which two maps differ, in order.
func differingKeys(a, b map[string]string) []string {
	var list []string
	for k, v := range a {
		if b[k] != v {
			list = append(list, k)
		}
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			list = append(list, k)
		}
	}
	slices.Sort(list)
	return list
}

// side is what one database has at some keys: the hashes of the rows, in order, and the key's columns.
type side struct {
	hashes map[string]string
	keys   map[string][]*string
}

type sides struct{ here, there side }

// look reads rows on both sides, each as of now.
func (d *distantProof) look(ctx context.Context, r *reading, statement func(pgsql.Distant) (pgsql.Statement, error)) (sides, error) {
	read := func(q pgsql.Distant, again bool) (side, error) {
		list, out := map[string][]string{}, side{map[string]string{}, map[string][]*string{}}
		err := d.there(ctx, r, again, func(r *reading) error {
			st, err := statement(q)
			if err != nil {
				return err
			}
			rows, err := r.ask(ctx, st)
			for _, row := range rows {
				list[*row[0]] = append(list[*row[0]], *row[1])
				out.keys[*row[0]] = row[2:]
			}
			return err
		})
		for key, hashes := range list {
			slices.Sort(hashes)
			out.hashes[key] = strings.Join(hashes, " ")
		}
		return out, err
	}
	there, err := read(d.expected, false)
	if err != nil {
		return sides{}, err
	}
	here, err := read(d.actual, true)
	return sides{here, there}, err
}

// confirm reads suspects again until each is the same on both sides, or has stood still on both and differs.
func (d *distantProof) confirm(ctx context.Context, r *reading, p pgsql.Part, suspects []string) (wrong []Mismatch, hot int64, err error) {
	at := func(q pgsql.Distant) (pgsql.Statement, error) { return q.At(p, suspects) }
	before, err := d.look(ctx, r, at)
	for look := 0; err == nil && len(suspects) > 0 && look < distantLooks; look++ {
		if err = pause(ctx, d.options.Still); err != nil {
			break
		}
		var now sides
		if now, err = d.look(ctx, r, at); err != nil {
			break
		}
		var moving []string
		for _, key := range suspects {
			switch here, there := now.here.hashes[key], now.there.hashes[key]; {
			case here == there:
			case here == before.here.hashes[key] && there == before.there.hashes[key]:
				wrong = append(wrong, distantMismatch(now, key)...)
			default:
				moving = append(moving, key)
			}
		}
		suspects, before = moving, now
	}
	return wrong, int64(len(suspects)), err
}

// distantMismatch says what is wrong at a key.
func distantMismatch(s sides, key string) []Mismatch {
	count := func(text string) map[string]int64 {
		n := map[string]int64{}
		for _, hash := range strings.Fields(text) {
			n[hash]++
		}
		return n
	}
	missing, extra := count(s.there.hashes[key]), count(s.here.hashes[key])
	for hash, n := range maps.Clone(missing) {
		both := min(n, extra[hash])
		missing[hash] -= both
		extra[hash] -= both
	}
	total := func(m map[string]int64) (n int64) {
		for _, k := range m {
			n += k
		}
		return n
	}
	more, less := total(extra), total(missing)
	name := s.here.keys[key]
	if name == nil {
		name = s.there.keys[key]
	}
	var list []Mismatch
	for _, m := range []Mismatch{{Kind: Different, Rows: min(more, less)}, {Kind: Missing, Rows: less - min(more, less)}, {Kind: Extra, Rows: more - min(more, less)}} {
		if m.Rows > 0 {
			m.Key = name
			list = append(list, m)
		}
	}
	return list
}

// still is how long both sides of a comparison must stand still for a difference to be one.
const still = 2 * time.Second
