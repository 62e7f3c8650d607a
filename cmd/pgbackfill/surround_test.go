package main

import (
	"testing"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// A column, a function and a table that prepare makes are computed by the trigger, and kept for undo, like what was
// there before: both are set up after prepare and before the first chunk, also by a process that goes on later.
//
// Made to fail: without Options.Prepared nothing was kept and no trigger was there; with what is kept set up before
// prepare, the table that it makes was not taken back; without the tolerance of plan it refused the job.
func TestWhatPrepareMakesIsKeptAndComputed(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	db.Exec(peopleWithNames)
	was := rowsOf(db, "people")
	split := write(t, dir, "split.yaml", `name: split
table: people
chunk: {rows: 500}
prepare: CREATE TABLE details (id int PRIMARY KEY, bio text); INSERT INTO details VALUES (0, 'made by prepare')
steps:
  - {name: shown, update: {set: {shown: "'moved'"}}}
  - {name: details, sql: "INSERT INTO details SELECT c.id, c.name FROM {{chunk}} AS c"}
idempotent: false
undo: capture
`)
	says(t, must(t, db.DSN(), dir, "plan", split), "resolved-later", "details")
	mustExit(t, 130, db.DSN(), dir, "run", "--yes", "--max-chunks", "2", split)
	must(t, db.DSN(), dir, "run", "--yes", split)
	if n := pgtest.One[int](db, "SELECT count(*) FROM details"); n != 3001 {
		t.Fatalf("details has %d rows", n)
	}
	must(t, db.DSN(), dir, "undo", "--yes", split)
	if rowsOf(db, "people") != was {
		t.Error("people is not as it was before the run")
	}
	is(t, db, "SELECT * FROM details", `(0,"made by prepare")`)

	label := write(t, dir, "label.yaml", `name: label
table: people
prepare: |
  ALTER TABLE people ADD COLUMN label text;
  CREATE FUNCTION labelled(text) RETURNS text IMMUTABLE LANGUAGE sql AS $$SELECT 'label ' || $1$$
update: {set: {label: labelled(t.name)}}
dual_write: {by: trigger}
undo: capture
`)
	must(t, db.DSN(), dir, "run", "--yes", label)
	db.Exec("INSERT INTO people (id, name) VALUES (5000, 'ann')")
	is(t, db, "SELECT label FROM people WHERE id IN (7, 5000)", `("label ann") ("label name 7")`)
	must(t, db.DSN(), dir, "undo", "--yes", label)
	is(t, db, "SELECT id, label FROM people WHERE label IS NOT NULL", `(5000,"label ann")`)
}
