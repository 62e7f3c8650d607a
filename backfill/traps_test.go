package backfill_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/localpg"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/internal/pgtest/proxy"
)

// hostileSettings are those of a role or a database on which nothing of the engine's may depend.
var hostileSettings = []string{
	"DateStyle = 'SQL, DMY'", "IntervalStyle = 'sql_standard'", "extra_float_digits = '-15'", "TimeZone = 'Asia/Tokyo'",
	"bytea_output = 'escape'", "search_path = 'evil'", "default_transaction_isolation = 'serializable'",
	"default_transaction_read_only = 'on'", "default_transaction_deferrable = 'on'", "lock_timeout = '1ms'",
	"standard_conforming_strings = 'off'", "array_nulls = 'off'", "enable_indexscan = 'off'", "quote_all_identifiers = 'on'",
	"client_min_messages = 'debug5'", "lc_monetary = 'C'",
}

// Keys are rendered, read and compared under settings of the engine's own: neither the job's settings nor those of the
// role can make another key of a key. The constants of the job are read under the job's, on every connection.
//
// Made to fail: with the engine's settings left out of the boundary's transaction, or the job's in their place, the ledger's keys are
// written so that they cannot be read; with TimeZone left out of the job's, the constants are those of Tokyo.
func TestSettingsDoNotChangeKeys(t *testing.T) {
	t.Parallel()
	db := installed(t, `
		CREATE TABLE keyed (a timestamp, b interval, c float8, d timestamptz, e bytea, f text, n int NOT NULL DEFAULT 0, at timestamptz);
		INSERT INTO keyed SELECT '2020-01-02 03:04:05.678'::timestamp + i * interval '7 hours', i * interval '-1 mon 3 days 00:00:01',
		  i / 3.0::float8, '2020-03-29 00:00+00'::timestamptz + i * interval '5 minutes', decode(lpad(to_hex(i), 4, '0'), 'hex') || '\x5c'::bytea, E'\\ä''' || i
		  FROM generate_series(-60, 60) AS i;
		ALTER TABLE keyed ALTER a SET NOT NULL, ALTER b SET NOT NULL, ALTER c SET NOT NULL, ALTER d SET NOT NULL, ALTER e SET NOT NULL, ALTER f SET NOT NULL;
		CREATE INDEX ON keyed (a); CREATE INDEX ON keyed (b); CREATE INDEX ON keyed (c); CREATE INDEX ON keyed (d); CREATE INDEX ON keyed (e); CREATE INDEX ON keyed (f);
		CREATE SCHEMA evil;
		CREATE FUNCTION evil.count(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint';
		CREATE FUNCTION evil.differs(int, int) RETURNS bool LANGUAGE sql AS 'SELECT false';
		CREATE OPERATOR evil.= (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.differs)`)
	role, dsn := db.Role("")
	db.Exec(fmt.Sprintf(`GRANT ALL ON ALL TABLES IN SCHEMA public, pgbackfill TO %[1]s; GRANT USAGE ON SCHEMA public, pgbackfill, evil TO %[1]s;
		GRANT ALL ON ALL SEQUENCES IN SCHEMA pgbackfill TO %[1]s`, role))
	for _, setting := range hostileSettings {
		db.Exec(fmt.Sprintf("ALTER ROLE %s IN DATABASE %s SET %s", role, pgx.Identifier{db.Name()}.Sanitize(), setting))
	}
	settings := map[string]string{"DateStyle": "Postgres, DMY", "intervalstyle": "postgres_verbose", "extra_float_digits": "-10", "bytea_output": "escape"}
	for i, key := range []string{"a", "b", "c", "d", "e", "f"} {
		job, midnight := counts("keyed", key), "2020-01-01 00:00+00"
		job.Name, job.Settings = "keyed-"+key, settings
		if i%2 == 1 {
			job.Settings, midnight = map[string]string{"timezone": "America/New_York", "DateStyle": "SQL, DMY", "intervalstyle": "sql_standard"}, "2020-01-01 05:00+00"
		}
		job.UpdateStep().Set = append(job.UpdateStep().Set, backfill.Assignment{Column: "at", Value: backfill.Expr{SQL: "'2020-01-01'::timestamptz"}})
		job.Where = &backfill.Expr{SQL: "'2020-01-01'::timestamptz = '" + midnight + "'"}
		db.Exec("UPDATE keyed SET n = 0, at = NULL")
		plan := planned(t, db, job, every(25))
		w := join(t, db, plan, part{dsn: dsn})
		w.finished()
		onceEach(t, db, "keyed")
		tiled(t, db, plan, w.run.ID())
		if wrong := pgtest.One[int](db, "SELECT count(*) FROM keyed WHERE at IS DISTINCT FROM $1::timestamptz", midnight); wrong != 0 {
			t.Errorf("key %s: %d rows have a constant that was read in another time zone", key, wrong)
		}
	}
}

// A connection that speaks another encoding than the job is written in would store other letters than were meant: it
// is refused before anything is written, and the message says what to do.
//
// Made to fail: without the look at the connection's encoding, every name is "Ã¤".
func TestOtherEncodingIsRefused(t *testing.T) {
	t.Parallel()
	db := installed(t, "CREATE TABLE names (id int PRIMARY KEY, name text); INSERT INTO names SELECT generate_series(1, 20)")
	role, dsn := db.Role("SUPERUSER")
	db.Exec("ALTER ROLE " + role + " SET client_encoding = 'latin1'")
	plan := planned(t, db, sets("names", map[string]string{"name": "'ä'"}), whole)
	_, err := join(t, db, plan, part{dsn: dsn}).wait()
	if err == nil || !strings.Contains(err.Error(), "LATIN1") || !strings.Contains(err.Error(), "client_encoding=UTF8") {
		t.Errorf("the run ended with %v; expected an error that names the encoding and the remedy", err)
	}
	if n := pgtest.One[int](db, "SELECT count(*) FROM names WHERE name IS NOT NULL"); n != 0 {
		t.Errorf("%d rows were written", n)
	}
	join(t, db, plan, part{dsn: dsn + "&client_encoding=UTF8"}).finished()
	if n := pgtest.One[int](db, "SELECT count(*) FROM names WHERE name = 'ä'"); n != 20 {
		t.Errorf("%d rows hold the letter that was meant", n)
	}
}

// blocked waits until a backend of the engine waits for a lock.
func blocked(t *testing.T, db *pgtest.DB) {
	t.Helper()
	pgtest.Eventually(t, ended/2, func() error {
		if pgtest.One[int](db, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pgbackfill %' AND wait_event_type = 'Lock'") == 0 {
			return fmt.Errorf("nobody waits for a lock")
		}
		return nil
	})
}

// begun is a transaction of the application's that has done something and is still open.
func begun(t *testing.T, db *pgtest.DB, sql ...string) *pgx.Conn {
	t.Helper()
	conn := db.Conn()
	for _, s := range append([]string{"BEGIN"}, sql...) {
		if _, err := conn.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	return conn
}

func finish(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// The application changes a row and what the row is filled from in one transaction, for which the chunk has to wait: the
// chunk does not overwrite the newer value with what it read before, nor leave the row out.
//
// Made to fail: with LockFirst off, "subquery" ends with the old label; without the statement that locks, both leave the row
// out.
func TestDualWriteIsNotOverwritten(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, set, from, join string
	}{
		{"subquery", "(SELECT l.label FROM labels AS l WHERE l.id = t.id)", "", ""},
		{"from", "l.label", "labels AS l", "l.id = t.id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db := installed(t, `CREATE TABLE labels (id int PRIMARY KEY, label text); INSERT INTO labels SELECT i, 'old' FROM generate_series(1, 50) AS i;
				CREATE TABLE numbers (id int PRIMARY KEY, label text, n int NOT NULL DEFAULT 0); INSERT INTO numbers SELECT generate_series(1, 50)`)
			job := counts("numbers")
			job.UpdateStep().Set = append(job.UpdateStep().Set, backfill.Assignment{Column: "label", Value: backfill.Expr{SQL: c.set}})
			if c.from != "" {
				job.UpdateStep().From, job.UpdateStep().Join = &backfill.Expr{SQL: c.from}, &backfill.Expr{SQL: c.join}
			}
			app := begun(t, db, "UPDATE labels SET label = 'new' WHERE id = 25", "UPDATE numbers SET label = 'new' WHERE id = 25")
			plan := planned(t, db, job, whole)
			plan.LockFirst, plan.Pace.LockTimeout = true, 20*time.Second
			w := join(t, db, plan, part{})
			blocked(t, db)
			finish(t, app, "COMMIT")
			w.finished()
			if wrong := pgtest.All[string](db, "SELECT t::text FROM numbers AS t WHERE label IS DISTINCT FROM CASE id WHEN 25 THEN 'new' ELSE 'old' END"); len(wrong) > 0 {
				t.Errorf("these rows hold the wrong label: %v", wrong)
			}
			onceEach(t, db, "numbers")
		})
	}
}

// Rows that commit behind the walk, in transactions that were open when it passed, are filled by the closing sweep,
// which waits for those transactions, also when one is prepared while it waits, and for no others. What has been inserted
// above the greatest key that was planned is in the tail.
//
// Made to fail: without the wait for writers the sweep looks for none; with sessions alone looked at it looks no more once the
// writer is prepared.
func TestClosingSweepFindsWhatTheWalkMissed(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Cluster(t, localpg.Options{Settings: map[string]string{"max_prepared_transactions": "5"}})
	for _, prepare := range []bool{false, true} {
		t.Run(fmt.Sprintf("prepared %t", prepare), func(t *testing.T) {
			t.Parallel()
			db := prepared(t, pgtest.NewOn(t, cluster), `CREATE TABLE numbers (id int PRIMARY KEY, n int, double int);
				INSERT INTO numbers SELECT i * 10, i * 10 FROM generate_series(0, 20) AS i; CREATE TABLE other (n int)`)
			plan := planned(t, db, sets("numbers", map[string]string{"double": "t.n * 2"}), every(7))
			app := begun(t, db, "INSERT INTO numbers VALUES (5, 5)")
			begun(t, db, "INSERT INTO other VALUES (1)", "SELECT * FROM numbers LIMIT 1") // never ends
			db.Exec("INSERT INTO numbers VALUES (1000, 1000)")
			w := join(t, db, plan, part{})
			waits := func() (n int) {
				for _, e := range of[backfill.Waiting](w) {
					if strings.Contains(e.Reason, "closing sweep waits for 1 open transaction") {
						n++
					}
				}
				return n
			}
			looks := func(more int) {
				t.Helper()
				from := waits()
				pgtest.Eventually(t, ended/2, func() error {
					if n := waits(); n < from+more {
						return fmt.Errorf("the sweep has looked %d times for the writer; its events: %v", n, w.seen())
					}
					return nil
				})
			}
			looks(1)
			if n := pgtest.One[int](db, "SELECT double FROM numbers WHERE id = 1000"); n != 2000 {
				t.Errorf("the row of the tail holds %d", n)
			}
			if prepare {
				finish(t, app, "PREPARE TRANSACTION 'mine'")
				looks(3)
				finish(t, app, "COMMIT PREPARED 'mine'")
			} else {
				finish(t, app, "COMMIT")
			}
			summary := w.finished()
			if summary.SweepChanged != 1 {
				t.Errorf("the sweep changed %d rows; expected the one that was behind the walk", summary.SweepChanged)
			}
			if wrong := pgtest.All[string](db, "SELECT t::text FROM numbers AS t WHERE double IS DISTINCT FROM n * 2"); len(wrong) > 0 {
				t.Errorf("these rows were not filled: %v", wrong)
			}
		})
	}
}

// An expression is never evaluated on a row outside the scope, though PostgreSQL may test the parts of a WHERE in any
// order: here the scope's test is the dear one, which it would do last.
//
// Made to fail: with AND in the place of CASE, "plain" stops at a row that is no number.
func TestExpressionsStayInScope(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, set, from, join string
	}{
		{"plain", "t.x::int", "", ""},
		{"subquery", "(SELECT max(l.id) FROM labels AS l WHERE l.id <= t.x::int)", "", ""},
		{"from", "l.id", "labels AS l", "l.id = t.x::int"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db := installed(t, `CREATE TABLE labels (id int PRIMARY KEY); INSERT INTO labels SELECT generate_series(1, 300);
				CREATE FUNCTION digits(text) RETURNS bool LANGUAGE plpgsql IMMUTABLE COST 1000000 AS $$ BEGIN RETURN $1 ~ '^\d+$'; END $$;
				CREATE TABLE numbers (id int PRIMARY KEY, x text, n int);
				INSERT INTO numbers SELECT i, CASE i % 3 WHEN 0 THEN i::text ELSE 'none' END FROM generate_series(1, 300) AS i; ANALYZE`)
			job := sets("numbers", map[string]string{"n": c.set})
			job.Where = &backfill.Expr{SQL: "digits(t.x)"}
			if c.from != "" {
				job.UpdateStep().From, job.UpdateStep().Join = &backfill.Expr{SQL: c.from}, &backfill.Expr{SQL: c.join}
			}
			plan := planned(t, db, job, every(100))
			plan.LockFirst = c.name != "plain"
			plan.Pace.ChunkRows = 40
			do(t, db, plan)
			if wrong := pgtest.All[string](db, "SELECT t::text FROM numbers AS t WHERE n IS DISTINCT FROM CASE id % 3 WHEN 0 THEN id END LIMIT 5"); len(wrong) > 0 {
				t.Errorf("these rows are wrong: %v", wrong)
			}
		})
	}
}

// Rows that hold their new value are not written, and rows that hold one that is merely equal to it are: to the byte. Each
// column has a row of its own in which it is the only one to change.
//
// Made to fail: with = in the place of the image's comparison, json and point cannot be compared and the others keep their old scale,
// case or sign; with no comparison at all the first row is written.
func TestUnchangedIsToTheByte(t *testing.T) {
	t.Parallel()
	columns := []struct{ kind, old, same, other string }{
		{"numeric", "1.0", "1.0", "1.00"},
		{"numeric(8,2)", "1.50", "1.5", "1.51"},
		{"text COLLATE any_case", "a", "a", "A"},
		{"float8", "-0", "-0", "0"},
		{"float4", "0", "0", "-0"},
		{"jsonb", `{"a": 1.0}`, `{"a": 1.0}`, `{"a": 1.00}`},
		{"json", `{"a":1}`, `{"a":1}`, `{"a": 1}`},
		{"char(5)", "ab", "ab   ", "abc"},
		{"varchar(3)", "ab", "ab", "ab "},
		{"interval", "1 mon", "1 mon", "30 days"},
		{"timetz", "12:00+00", "12:00+00", "14:00+02"},
		{"inet[]", "{10.0.0.1/8}", "{10.0.0.1/8}", "{10.0.0.1}"},
		{"bytea", `\x00`, `\x00`, `\x0000`},
		{"point", "(1,1)", "(1,1)", "(1,1.0000001)"},
		{"box", "(2,2),(0,0)", "(0,0),(2,2)", "(4,1),(0,0)"}, // as large
		{"circle", "<(0,0),1>", "<(0,0),1>", "<(5,5),1>"},
		{"path", "((0,0),(1,1))", "((0,0),(1,1))", "((0,0),(2,2))"}, // as many points
		{"lseg", "[(0,0),(1,1)]", "[(0,0),(1,1)]", "[(0,0),(1,1.0000001)]"},
		{"polygon", "((0,0),(1,1),(1,0))", "((0,0),(1,1),(1,0))", "((1,1),(1,0),(0,0))"}, // the same one, begun elsewhere
		{"citext", "a", "a", "A"},
		{"xml", "<a/>", "<a/>", "<a></a>"},
		{"char(5)[]", "{ab}", `{"ab   "}`, "{abc}"},
		{"padded", "ab", "ab   ", "abc"},
		{"record_of_ours", "(1.0,a)", "(1.0,a)", "(1.00,a)"},
	}
	for _, lockFirst := range []bool{false, true} {
		t.Run(fmt.Sprintf("locked first %t", lockFirst), func(t *testing.T) {
			t.Parallel()
			db := installed(t, `CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
				CREATE TYPE record_of_ours AS (a numeric, b text); CREATE DOMAIN padded AS char(5); CREATE EXTENSION citext`)
			var kinds, olds []string
			set := map[string]string{}
			for i, c := range columns {
				kind, _, _ := strings.Cut(c.kind, " COLLATE")
				kinds, olds = append(kinds, fmt.Sprintf("v%d %s", i, c.kind)), append(olds, "'"+c.old+"'")
				set[fmt.Sprintf("v%d", i)] = fmt.Sprintf("CASE WHEN t.id = %d THEN '%s'::%s WHEN t.id >= 0 THEN '%s'::%s END", i, c.other, kind, c.same, kind)
			}
			db.Exec(fmt.Sprintf("CREATE TABLE many (id int PRIMARY KEY, %s); INSERT INTO many SELECT i, %s FROM generate_series(0, %d) AS i; INSERT INTO many VALUES (-1)",
				strings.Join(kinds, ", "), strings.Join(olds, ", "), len(columns)))
			db.Exec("CREATE TABLE before AS SELECT id, xmin::text AS version FROM many")
			plan := planned(t, db, sets("many", set), every(9))
			plan.LockFirst = lockFirst
			if changed := do(t, db, plan).summary.RowsChanged; changed != int64(len(columns)) {
				t.Errorf("%d rows were changed; expected one for each of the %d columns", changed, len(columns))
			}
			for i, c := range columns {
				kind, _, _ := strings.Cut(c.kind, " COLLATE")
				want := pgtest.One[string](db, fmt.Sprintf("SELECT '%s'::%s::text", c.other, kind))
				if got := pgtest.One[string](db, fmt.Sprintf("SELECT v%d::text FROM many WHERE id = %d", i, i)); got != want {
					t.Errorf("%s: holds %q; expected %q", c.kind, got, want)
				}
			}
			if written := pgtest.All[int](db, "SELECT m.id FROM many AS m JOIN before AS b ON b.id = m.id WHERE m.xmin::text <> b.version AND m.id IN (-1, $1)", len(columns)); len(written) > 0 {
				t.Errorf("rows %v were written; expected that they are left alone", written)
			}
		})
	}
}

// Where the job takes t as a whole it gets the table's row, with nothing of the engine's in it, and of the table's type.
//
// Made to fail: with t a subquery of the engine's, the function is not found; without it, documents hold a pgbackfill_row.
func TestWholeRowIsTheTables(t *testing.T) {
	t.Parallel()
	db := installed(t, `CREATE TABLE labels (id int PRIMARY KEY, label text); INSERT INTO labels SELECT i, 'l' || i FROM generate_series(1, 30) AS i;
		CREATE TABLE people (id int PRIMARY KEY, gone int, name text, doc jsonb, shown text); ALTER TABLE people DROP gone;
		INSERT INTO people SELECT i, 'name ' || i FROM generate_series(1, 30) AS i;
		CREATE FUNCTION shown(people) RETURNS text LANGUAGE sql STABLE AS $$ SELECT upper($1.name) $$`)
	job := sets("people", map[string]string{"doc": "to_jsonb(t) - 'doc' - 'shown' || jsonb_build_object('label', l.label)", "shown": "shown(t)"})
	for i := range job.UpdateStep().Set {
		job.UpdateStep().Set[i].Value.Columns = []string{"t"} // as the parser says
	}
	job.UpdateStep().From, job.UpdateStep().Join = &backfill.Expr{SQL: "labels AS l"}, &backfill.Expr{SQL: "l.id = t.id"}
	do(t, db, planned(t, db, job, whole))
	wrong := pgtest.All[string](db, `SELECT t::text FROM people AS t
		WHERE doc IS DISTINCT FROM jsonb_build_object('id', id, 'name', name, 'label', 'l' || id) OR shown IS DISTINCT FROM 'NAME ' || id LIMIT 3`)
	if len(wrong) > 0 {
		t.Errorf("these rows are wrong: %v", wrong)
	}
}

// No statement is prepared under a name, by the workers or by the store: a pooler in transaction mode may stand between.
//
// Made to fail: with the store's statements sent by pgx's Query, which prepares them.
func TestNoStatementHasAName(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(100))
	p, dsn := between(t, db.Server(), db.DSN())
	var mu sync.Mutex
	var named []string
	p.Hook(func(m proxy.Message) proxy.Verdict {
		name, _, _ := bytes.Cut(m.Payload, []byte{0})
		if m.Type == 'B' { // the portal's name comes first
			name, _, _ = bytes.Cut(m.Payload[len(name)+1:], []byte{0})
		}
		if m.From == proxy.Frontend && (m.Type == 'P' || m.Type == 'B') && len(name) > 0 {
			mu.Lock()
			defer mu.Unlock()
			named = append(named, m.String())
		}
		return proxy.Forward
	})
	plan := planned(t, db, sets("numbers", map[string]string{"n": "7"}), every(30))
	w := join(t, db, plan, part{dsn: dsn})
	until(w, "the first chunk", func(backfill.ChunkCommitted) bool { return true })
	info, err := w.store.Newest(context.Background(), plan.Job.Name)
	if err != nil || info.ID != w.run.ID() {
		t.Errorf("status: %v, %v", info, err)
	}
	w.finished()
	mu.Lock()
	defer mu.Unlock()
	if len(named) > 0 {
		t.Errorf("%d statements have a name, the first one: %s", len(named), named[0])
	}
}
