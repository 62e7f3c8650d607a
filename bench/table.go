package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/internal/human"
)

// schema is where the benchmark's tables are, on whatever server.
const schema = "pgbackfill_bench"

// table is what the work is done on: rows of which the last column, display_name, is to be filled from the others. What is
// said of a table is said of `template`, which is made once; `users` is a fresh copy of it for every measurement.
type table struct {
	// name is its word on the command line, about what it is for, in the document.
	name, about string
	// rows are as many as it has where nobody asks for others.
	rows int
	// key is the type of the primary key, id; first is smaller than every id.
	key, first string
	// id makes the key of row i, which has the hash h, of n rows; seed is the benchmark's.
	id string
	// more are columns beside those that every table has, as `expression AS name`.
	more []string
	// with are storage parameters, indexes the columns that have an index beside the primary key.
	with, indexes []string
	// value is what display_name becomes, over t; "" is usual.
	value string
	// where is the scope, over t; "" is all rows.
	where string
	// settings are those that the server has for it, by its rows; nil is what the server has for all.
	settings func(rows int) map[string]string
	// cold empties the caches before every measurement.
	cold bool
}

// usual is what display_name becomes in all tables that say nothing else.
const usual = "initcap(t.full_name)"

// filling is what display_name becomes in rows in scope.
func (t table) filling() string {
	if t.value != "" {
		return t.value
	}
	return usual
}

// common are the columns that every table has beside the key and display_name: some text, some numbers, some times.
var common = []string{
	`'user' || i || '@' || (ARRAY['example.org','mail.example.com','example.net'])[1 + (h & 3) % 3] AS email`,
	`(ARRAY['ada','grace','edsger','barbara','donald','frances','alan','katherine'])[1 + (h >> 3 & 7)] || ' ' ||
       (ARRAY['lovelace','hopper','dijkstra','liskov','knuth','allen','turing','johnson'])[1 + (h >> 6 & 7)] || ' ' || i AS full_name`,
	`left(md5(i::text || seed) || md5(seed || i::text) || md5(i::text), 64) AS bio`,
	`(ARRAY['de','fr','jp','br','ke','us','in','nz'])[1 + (h >> 9 & 7)] AS country`,
	`(h & 1048575)::numeric / 100 AS balance`,
	`timestamptz '2020-01-01 00:00:00Z' + make_interval(secs => i) AS created_at`,
	`timestamptz '2024-01-01 00:00:00Z' + make_interval(secs => h & 16777215) AS updated_at`,
}

// columns are the names of all columns but display_name, in their order.
func (t table) columns() string {
	names := []string{"id"}
	for _, c := range append(common[:len(common):len(common)], t.more...) {
		names = append(names, c[strings.LastIndex(c, " AS ")+len(" AS "):])
	}
	return strings.Join(names, ", ")
}

// rowsSQL is the rows of the table, in physical order of i.
func (t table) rowsSQL(rows int, seed int64) string {
	list := append([]string{"(" + t.id + ")::" + t.key + " AS id"}, append(common[:len(common):len(common)], t.more...)...)
	return fmt.Sprintf("SELECT %s,\n       NULL::text AS display_name\n"+
		"  FROM (SELECT i::bigint AS i, hashint8extended(i, %[2]d) AS h, %[3]d::bigint AS n, '%[2]d'::text AS seed FROM generate_series(1, %[3]d) AS i) AS numbers",
		strings.Join(list, ",\n       "), seed, rows)
}

// copySQL makes a table with all that belongs to this one: of a SELECT, logged, its key, its indexes.
func (t table) copySQL(name, rows string) []string {
	with := append([]string{"autovacuum_enabled = false", "toast.autovacuum_enabled = false"}, t.with...)
	list := []string{
		fmt.Sprintf("CREATE TABLE %s WITH (%s) AS %s", name, strings.Join(with, ", "), rows),
		fmt.Sprintf("ALTER TABLE %s ADD PRIMARY KEY (id)", name),
	}
	for _, column := range t.indexes {
		list = append(list, fmt.Sprintf("CREATE INDEX ON %s (%s)", name, column))
	}
	return list
}

// change is the work on the table users.
func (t table) change() change {
	c := change{table: "users", key: "id", keyType: t.key, first: t.first, set: "display_name = " + t.filling(), scope: "true"}
	if t.where != "" {
		c.scope = t.where
	}
	return c
}

// filled is display_name as it has to become in all rows, over t.
func (t table) filled() string {
	if t.where == "" {
		return t.filling()
	}
	return "CASE WHEN " + t.where + " THEN " + t.filling() + " ELSE t.display_name END"
}

// sequential makes a table be filled in the order that was asked for, however the server would rather read.
var sequential = []string{"SET max_parallel_workers_per_gather = 0", "SET synchronize_seqscans = off"}

// makeTable makes a table of the rows, under a name: what all measurements of a table begin with.
func (b *workshop) makeTable(ctx context.Context, t table, rows int) error {
	fmt.Fprintf(b.progress, "%s: making %s rows\n", t.name, human.Count(int64(rows)))
	if err := b.configure(ctx, t, rows); err != nil {
		return err
	}
	b.table, b.tableRows = t, rows
	if err := b.exec(ctx, append(sequential, "DROP TABLE IF EXISTS template", "CREATE UNLOGGED TABLE template AS "+t.rowsSQL(rows, b.seed), "VACUUM ANALYZE template", "RESET ALL")...); err != nil {
		return err
	}
	var err error
	if b.truth, err = b.fingerprintOf(ctx, fmt.Sprintf("SELECT %s, %s AS display_name FROM template AS t", t.columns(), t.filled())); err != nil {
		return err
	}
	var bytes int64
	err = b.conn.QueryRow(ctx, "SELECT pg_relation_size('template'), count(*) FROM template AS t WHERE "+t.change().scope).Scan(&bytes, &b.inScope)
	b.rowBytes = int(bytes / int64(rows))
	return err
}

// freshTable makes the table users as it is before every measurement, the same to the last page, and no trace of the
// measurement before. The ledger is there, and empty: it is installed once in the life of a database.
func (b *workshop) freshTable(ctx context.Context) error {
	if err := b.forget(ctx); err != nil {
		return err
	}
	if err := checkpoint.Install(ctx, b.conn, checkpoint.InstallOptions{}); err != nil {
		return err
	}
	steps := append(sequential, "DROP TABLE IF EXISTS users, users_new, users_old")
	steps = append(steps, b.table.copySQL("users", "SELECT * FROM template")...)
	if err := b.exec(ctx, append(steps, "VACUUM ANALYZE users", "RESET ALL")...); err != nil {
		return err
	}
	if err := b.checkpoint(ctx); err != nil {
		return err
	}
	if b.table.cold {
		return b.chill(ctx)
	}
	return nil
}

// fingerprintOf tells one set of rows from another. It is over whole rows: nothing else may have changed either.
func (b *workshop) fingerprintOf(ctx context.Context, rows string) (string, error) {
	hash := "hash_record_extended(r, 0)"
	if b.version < 140000 {
		hash = "hashtextextended(r::text, 0)"
	}
	var text string
	err := b.conn.QueryRow(ctx, "SELECT count(*) || ' rows, sum of hashes ' || COALESCE(sum("+hash+"::numeric), 0) FROM ("+rows+") AS r").Scan(&text)
	return text, err
}

// rightData is an error where the table users does not hold what it should.
func (b *workshop) rightData(ctx context.Context) error {
	got, err := b.fingerprintOf(ctx, "SELECT "+b.table.columns()+", display_name FROM users")
	if err == nil && got != b.truth {
		err = fmt.Errorf("%w: found %s; expected %s", errData, got, b.truth)
	}
	return err
}
