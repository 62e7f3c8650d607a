package main

import (
	"context"
	"fmt"
)

// The table is what applications have: an integer key, some text, some timestamps; about 190 bytes a row. The column
// that is filled is the last one, and it is not indexed.
const (
	columns = `id, email, full_name, bio, country, balance, created_at, updated_at`

	createRows = `CREATE TABLE %[1]s AS
SELECT i AS id,
       'user' || i || '@' || (ARRAY['example.org','mail.example.com','example.net'])[1 + (h & 3) %% 3] AS email,
       (ARRAY['ada','grace','edsger','barbara','donald','frances','alan','katherine'])[1 + (h >> 3 & 7)] || ' ' ||
       (ARRAY['lovelace','hopper','dijkstra','liskov','knuth','allen','turing','johnson'])[1 + (h >> 6 & 7)] || ' ' || i AS full_name,
       left(md5(i::text || %[3]d) || md5(%[3]d || i::text) || md5(i::text), 64) AS bio,
       (ARRAY['de','fr','jp','br','ke','us','in','nz'])[1 + (h >> 9 & 7)] AS country,
       (h & 1048575)::numeric / 100 AS balance,
       timestamptz '2020-01-01 00:00:00Z' + make_interval(secs => i) AS created_at,
       timestamptz '2024-01-01 00:00:00Z' + make_interval(secs => h & 16777215) AS updated_at,
       NULL::text AS display_name
  FROM (SELECT i::bigint AS i, hashint8extended(i, %[3]d) AS h FROM generate_series(1, %[2]d) AS i) AS numbers`

	copyRows = `CREATE TABLE users AS SELECT * FROM template ORDER BY id`

	// fingerprint is over whole rows: nothing else may have changed either.
	fingerprint = `SELECT count(*) || ' rows, sum of hashes ' || COALESCE(sum(hash_record_extended(r, 0)::numeric), 0) FROM (%s) AS r`
	actualRows  = `SELECT ` + columns + `, display_name FROM users`
	trueRows    = `SELECT ` + columns + `, initcap(full_name) AS display_name FROM template`
)

// sequential makes a table be filled in the order that was asked for, however the server would rather read.
var sequential = []string{"SET max_parallel_workers_per_gather = 0", "SET synchronize_seqscans = off"}

// createTable makes a table of the rows and its primary key.
func (b *workshop) createTable(ctx context.Context, name string) error {
	return b.exec(ctx, append(sequential, fmt.Sprintf(createRows, name, b.rows, b.seed),
		"ALTER TABLE "+name+" ADD PRIMARY KEY (id)", "VACUUM ANALYZE "+name, "RESET ALL")...)
}

// freshTable makes the table users as it is before every measurement, the same to the last page, and no trace of the
// measurement before.
func (b *workshop) freshTable(ctx context.Context) error {
	return b.exec(ctx, append(sequential,
		"DROP SCHEMA IF EXISTS pgbackfill CASCADE", "DROP TABLE IF EXISTS users",
		copyRows, "ALTER TABLE users ADD PRIMARY KEY (id)", "VACUUM ANALYZE users", "RESET ALL", "CHECKPOINT")...)
}

// fingerprintOf tells one set of rows from another.
func (b *workshop) fingerprintOf(ctx context.Context, rows string) (string, error) {
	var text string
	err := b.conn.QueryRow(ctx, fmt.Sprintf(fingerprint, rows)).Scan(&text)
	return text, err
}

// size is how large a table's rows are on disk, without its indexes.
func (b *workshop) size(ctx context.Context, table string) (int64, error) {
	var bytes int64
	err := b.conn.QueryRow(ctx, "SELECT pg_relation_size($1::regclass)", table).Scan(&bytes)
	return bytes, err
}

// wal is how much write-ahead log the server has written, from a beginning that stays the same.
func (b *workshop) wal(ctx context.Context) (int64, error) {
	var bytes int64
	err := b.conn.QueryRow(ctx, "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint").Scan(&bytes)
	return bytes, err
}
