package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// What is likely to have happened to each wrong row is told from the ledger and from who wrote the row as it is.
//
// ⚑ Rows 11 and 31 were inserted by a transaction that is older than every chunk and committed behind them: by the order of
// transaction ids their chunk would have seen them. ⚑ Row 33 was committed while its chunk's step was at work, before the
// ledger's row was written: what the step saw has to be taken inside of its own statement. ⚑ Row 13 was written under a
// savepoint, which snapshots do not name: it is taken for one that the chunk saw, and is why a class is never more than likely.
//
// Made to fail: with the snapshot taken by the ledger's insert (Seen as pg_current_snapshot()), row 33 counts as one that
// the chunk saw and left.
func TestWrongRowsAreToldApart(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	db.Exec(`CREATE TABLE things (id int PRIMARY KEY, v text, c text CHECK (c <> 'V28'), note int);
		INSERT INTO things SELECT g, 'v' || g FROM generate_series(2, 200, 2) AS g; ANALYZE things;
		CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF NEW.id = 24 THEN NEW.c := 'theirs'; END IF;
			IF NEW.id = 26 THEN RETURN NULL; END IF;
			WHILE NEW.id = 34 AND NOT EXISTS (SELECT FROM go) LOOP PERFORM pg_sleep(0.01); END LOOP;
			RETURN NEW; END $$;
		CREATE TABLE go ();
		CREATE TRIGGER meddle BEFORE UPDATE ON things FOR EACH ROW EXECUTE FUNCTION meddle()`)
	job := write(t, dir, "job.yaml", "name: classes\ntable: things\nupdate: {set: {c: upper(t.v)}}\n")
	older := db.Conn()
	for _, sql := range []string{"BEGIN", "INSERT INTO things VALUES (11, 'late')", "INSERT INTO things VALUES (31, 'late', 'other')", "SAVEPOINT part", "INSERT INTO things VALUES (13, 'late')"} {
		if _, err := older.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	run := start(t, db.DSN(), dir, "run", "--yes", "--workers", "1", "--set", "chunk.max_rows=10", "--max-chunks", "14", job)
	pgtest.Eventually(t, time.Minute, func() error {
		if pgtest.One[bool](db, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep')") {
			return nil
		}
		return errNotYet
	})
	db.Exec("INSERT INTO things VALUES (33, 'new'); INSERT INTO go DEFAULT VALUES")
	if code := run.wait(t, time.Minute); code != 130 {
		t.Fatalf("exit code %d:\n%s", code, run.out)
	}
	if _, err := older.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	walked := pgtest.One[int](db, "SELECT max(through[1]::int) FROM pgbackfill.chunks")
	if walked < 40 || walked > 160 {
		t.Fatalf("the run came to key %d", walked)
	}
	db.Exec(`DROP TRIGGER meddle ON things; UPDATE things SET note = 1 WHERE id = 30;
		UPDATE things SET c = 'x' WHERE id = 20; UPDATE things SET c = NULL WHERE id = 22`)
	mustExit(t, exitMismatch, db.DSN(), dir, "verify", job)
	got := pgtest.All[string](db, `SELECT format('%s %s %s', m.key[1], m.class, m.confidence) FROM pgbackfill.mismatches AS m WHERE m.key[1]::int <= $1 ORDER BY m.no`, walked)
	want := []string{
		"11 dual_write_missed likely", "13 never_backfilled likely", "20 dual_write_wrong likely", "22 dual_write_missed likely", "24 backfill_wrong likely", "26 never_backfilled likely",
		"28 never_backfilled likely", "31 dual_write_wrong likely", "33 dual_write_missed likely",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	rest := pgtest.One[int](db, "SELECT count(*) FROM things WHERE id > $1", walked)
	if n := pgtest.One[int](db, `SELECT count(*) FROM pgbackfill.mismatches WHERE class = 'never_backfilled' AND evidence LIKE 'no chunk of run 1 came%'`); n != rest {
		t.Errorf("%d rows are told to be ahead of the run, want %d", n, rest)
	}
	if got := pgtest.One[int](db, "SELECT (classes ->> 'never_backfilled')::int FROM pgbackfill.verifications"); got != rest+3 {
		t.Errorf("it counts %d rows as never backfilled, want %d", got, rest+3)
	}
}

// Where the run kept what it wrote (undo: capture), an application that changed what a value is made of and not the value
// is told from one that wrote another value. A run that walked in physical order tells it of what was written when it was over.
//
// Made to fail: with kept answering false, row 20 is a dual write that is wrong; with the ledger asked by key alone, all rows of
// the heap walk are of an unknown class; without the other run's ledger, and the drift, the evidence has a number alone.
func TestMissedDualWritesAreToldFromWrongOnes(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	for walk, want := range map[string][]string{
		"key":  {"20 dual_write_missed", "21 dual_write_wrong", "22 dual_write_wrong", "90 dual_write_missed", "92 dual_write_wrong"},
		"heap": {"20 dual_write_missed", "21 dual_write_wrong", "22 dual_write_wrong", "90 dual_write_missed", "92 dual_write_wrong"},
	} {
		db.Exec(strings.ReplaceAll(`CREATE TABLE by_WALK (id int PRIMARY KEY, v text, c text); INSERT INTO by_WALK SELECT g, 'v' || g FROM generate_series(1, 50) AS g; ANALYZE by_WALK`, "WALK", walk))
		job := write(t, dir, "job.yaml", "name: kept-"+walk+"\ntable: by_"+walk+"\nwalk: "+walk+"\nupdate: {set: {c: upper(t.v)}}\nundo: capture\n")
		must(t, db.DSN(), dir, "run", "--yes", "--accept", "no-index", job)
		db.Exec(strings.ReplaceAll(`UPDATE by_WALK SET v = 'changed' WHERE id = 20; UPDATE by_WALK SET v = 'changed', c = 'changed' WHERE id = 21; UPDATE by_WALK SET c = NULL WHERE id = 22;
			UPDATE by_WALK SET v = 'right', c = 'RIGHT' WHERE id = 23; INSERT INTO by_WALK VALUES (90, 'new', NULL), (91, 'right', 'RIGHT'), (92, 'new', 'wrong')`, "WALK", walk))
		mustExit(t, exitMismatch, db.DSN(), dir, "verify", job)
		got := pgtest.All[string](db, `SELECT format('%s %s', m.key[1], m.class) FROM pgbackfill.mismatches AS m JOIN pgbackfill.verifications AS v ON v.id = m.verification_id
			WHERE v.job = $1 ORDER BY m.key[1]::int`, "kept-"+walk)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("by %s: %s", walk, diff)
		}
	}
	// Who wrote it is said by name where that is known: another job's run, or what the tripwire has seen.
	write(t, dir, "other.yaml", "name: other\ntable: by_key\nwhere: t.id = 30\nupdate: {set: {c: \"'x'\"}}\n")
	job := write(t, dir, "job.yaml", "name: kept-key\ntable: by_key\nwalk: key\nupdate: {set: {c: upper(t.v)}}\nundo: capture\n")
	must(t, db.DSN(), dir, "tripwire", "install", job)
	must(t, db.DSN(), dir, "run", "--yes", "other.yaml")
	db.Exec("BEGIN; SET LOCAL application_name = 'billing'; UPDATE by_key SET v = 'ours' WHERE id = 31; COMMIT")
	mustExit(t, exitMismatch, db.DSN(), dir, "verify", job)
	got := pgtest.All[string](db, `SELECT format('%s %s', m.key[1], regexp_replace(m.evidence, '\d+', 'N', 'g')) FROM pgbackfill.mismatches AS m
		WHERE m.verification_id = (SELECT max(id) FROM pgbackfill.verifications) AND m.key[1]::int IN (30, 31) ORDER BY m.no`)
	if len(got) != 2 || !strings.HasPrefix(got[0], "30 transaction N (a chunk of run N of job other) wrote the row behind the chunk of run N") || !strings.Contains(got[1], "(billing as "+pgtest.One[string](db, "SELECT current_user::text")+": BEGIN;") || !strings.Contains(got[1], "UPDATE by_key SET v = 'ours'") {
		t.Errorf("who wrote them is said as %q", got)
	}
}
