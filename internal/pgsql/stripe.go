package pgsql

import (
	"fmt"
	"strings"
)

// Stripes tell the rows of a page apart by something that stays as it is while they are changed, so that they can be changed in
// several passes. Every row is in exactly one stripe.
type Stripes struct {
	// Of is how many stripes there are, more than one.
	Of int `json:"of"`
	// Columns are what rows are told apart by. One integer column goes by its remainder, everything else by a hash.
	Columns []string `json:"columns"`
	// Hash is the function of pg_catalog that hashes the one column; "" is the remainder of an integer, or, of several columns, the hash
	// of them as a record.
	Hash string `json:"hash,omitempty"`
	// Record is set where the columns are hashed together, whatever their types are.
	Record bool `json:"record,omitempty"`
}

// Stripe is one of them, from 0.
type Stripe struct {
	Stripes
	No int
}

// number is which stripe a row of t is in. It is NULL only where a column that is not hashed as a record is. The remainder of a negative
// number is negative, and no remainder overflows; a hash loses its sign.
func (s Stripes) number() string {
	columns := make([]string, len(s.Columns))
	for i, name := range s.Columns {
		columns[i] = "t." + Ident(name)
	}
	list := strings.Join(columns, ", ")
	switch {
	case s.Record:
		return fmt.Sprintf("(pg_catalog.hash_record_extended(ROW(%s), 0) OPERATOR(pg_catalog.&) 2147483647) OPERATOR(pg_catalog.%%) %d", list, s.Of)
	case s.Hash != "":
		return fmt.Sprintf("(pg_catalog.%s(%s) OPERATOR(pg_catalog.&) 2147483647) OPERATOR(pg_catalog.%%) %d", s.Hash, list, s.Of)
	}
	return fmt.Sprintf("((%[1]s OPERATOR(pg_catalog.%%) %[2]d) OPERATOR(pg_catalog.+) %[2]d) OPERATOR(pg_catalog.%%) %[2]d", list, s.Of)
}

// String is the same for people.
func (s Stripes) String() string {
	columns := strings.Join(s.Columns, ", ")
	if s.Hash == "" && !s.Record {
		return fmt.Sprintf("%s modulo %d", columns, s.Of)
	}
	return fmt.Sprintf("a hash of %s modulo %d", columns, s.Of)
}

func (s Stripe) where(b *Binder) string {
	return fmt.Sprintf("%s OPERATOR(pg_catalog.=) %s::pg_catalog.int4", s.number(), b.Bind("stripe", Int(s.No)))
}

// Evenness counts, in a sample of about so many percent of the pages, all rows, those in scope and, for each of the candidates, how many
// of these will find room on their own page when the stripes are changed one after the other, each in what the ones before have left:
// what went away with the first pass is the room, and a pass that finds room for itself leaves as much.
func (s Scope) Evenness(candidates []Stripes, percent float64) (Statement, error) {
	f := s.filling(Part{})
	scope := f.where()
	if scope == "" {
		scope = "true"
	}
	var counts, rooms []string
	for i, c := range candidates {
		room := "s.of_" + fmt.Sprint(i) + "_0"
		var found []string
		for no := range c.Of {
			name := fmt.Sprintf("of_%d_%d", i, no)
			counts = append(counts, fmt.Sprintf("pg_catalog.count(*) FILTER (WHERE r.scoped AND r.stripe_%d OPERATOR(pg_catalog.=) %d) AS %s", i, no, name))
			if no > 0 {
				found = append(found, fmt.Sprintf("LEAST(s.%s, %s)", name, room))
				room = fmt.Sprintf("GREATEST(s.%s, %s)", name, room)
			}
		}
		rooms = append(rooms, "COALESCE(pg_catalog.sum("+strings.Join(found, " OPERATOR(pg_catalog.+) ")+"), 0)")
	}
	stripes := make([]string, len(candidates))
	for i, c := range candidates {
		stripes[i] = fmt.Sprintf("%s AS stripe_%d", c.number(), i)
	}
	sample := ""
	if percent < 100 {
		sample = fmt.Sprintf(" TABLESAMPLE SYSTEM (%g) REPEATABLE (0)", percent)
	}
	sql := fmt.Sprintf(`SELECT COALESCE(pg_catalog.sum(s.rows), 0), COALESCE(pg_catalog.sum(s.scoped), 0),
       %s
FROM (
  SELECT pg_catalog.count(*) AS rows, pg_catalog.count(*) FILTER (WHERE r.scoped) AS scoped,
         %s
  FROM (
    SELECT t.tableoid AS leaf, pg_catalog.trunc((t.ctid::pg_catalog.text::pg_catalog.point)[0]) AS page, %s AS scoped,
           %s
    FROM %s AS t%s) AS r
  GROUP BY r.leaf, r.page) AS s`,
		strings.Join(rooms, ",\n       "), strings.Join(counts, ",\n         "), scope, strings.Join(stripes, ",\n           "), s.Table, sample)
	return Statement{Name: "evenness", SQL: sql, Args: f.b.Args()}, f.err
}

// Updates counts what the session has updated in a table, and how much of it heap-only, since the server has last taken its counts: the
// difference of two of these in one transaction is what came between them. Third is where transactions are: those that have written
// nothing yet come at or after it.
func Updates(table uint32) Statement {
	return Statement{
		Name: "heap-only",
		SQL: `SELECT pg_catalog.pg_stat_get_xact_tuples_updated($1::pg_catalog.oid), pg_catalog.pg_stat_get_xact_tuples_hot_updated($1::pg_catalog.oid),
       pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())`,
		Args: [][]byte{Int(int64(table))},
	}
}

// Holding names who keeps the rows that transactions from since on have deleted or replaced: the snapshots of this database that are as
// old, those of standbys that say so, replication slots, and open and prepared transactions, the oldest first. Such transactions count in
// whichever database they have written, for every snapshot reaches back to them. VACUUM keeps none. What a role may not see of others is not there.
func Holding(since string) Statement {
	return Statement{
		Name: "holding",
		SQL: `SELECT h.who
FROM (
  SELECT GREATEST(CASE WHEN a.datname OPERATOR(pg_catalog.=) pg_catalog.current_database() OR a.datname IS NULL THEN pg_catalog.age(a.backend_xmin) END,
                  pg_catalog.age(a.backend_xid)) AS age,
         CASE WHEN a.backend_type OPERATOR(pg_catalog.=) 'walsender' THEN pg_catalog.format('standby %s, which asks for it (hot_standby_feedback)', a.application_name)
              ELSE pg_catalog.format('pid %s of %s, %s, since %s', a.pid, a.usename, a.state, pg_catalog.date_trunc('second', a.xact_start)) END AS who
  FROM pg_catalog.pg_stat_activity AS a
  WHERE a.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_vacuum AS v WHERE v.pid OPERATOR(pg_catalog.=) a.pid)
  UNION ALL
  SELECT pg_catalog.age(r.xmin), pg_catalog.format('replication slot %s', r.slot_name) FROM pg_catalog.pg_replication_slots AS r
  UNION ALL
  SELECT pg_catalog.age(p.transaction), pg_catalog.format('prepared transaction %s of %s, since %s', p.gid, p.owner, pg_catalog.date_trunc('second', p.prepared))
  FROM pg_catalog.pg_prepared_xacts AS p) AS h
WHERE h.age OPERATOR(pg_catalog.>=) pg_catalog.age($1::pg_catalog.xid8::pg_catalog.xid)
ORDER BY h.age DESC`,
		Args: [][]byte{Text(since)},
	}
}
