package backfill

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgbackfill/pgbackfill/internal/catalog"
	"github.com/pgbackfill/pgbackfill/internal/localpg"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// findingOf returns the finding of that id, or nil.
func findingOf(plan *Plan, id string) *Finding {
	i := slices.IndexFunc(plan.Findings, func(f Finding) bool { return f.ID == id })
	if i < 0 {
		return nil
	}
	return &plan.Findings[i]
}

func ids(plan *Plan) []string {
	var list []string
	for _, f := range plan.Findings {
		list = append(list, f.ID)
	}
	return list
}

// says asserts that a finding is complete and that its words are there.
func says(t *testing.T, f *Finding, severity Severity, words ...string) {
	t.Helper()
	if f.Severity != severity || f.Title == "" || f.Evidence == "" || f.Remedy == "" {
		t.Errorf("the finding is %+v; want all of its words, and severity %s", *f, severity)
	}
	text := f.Title + "\n" + f.Evidence + "\n" + f.Remedy
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("finding %s is\n%s\nand does not say %q", f.ID, text, w)
		}
	}
}

// A table that has nothing odd about it has no findings, but for the backup that nobody can attest yet, a limit that only people
// can know and, where values come from another table, that changes there do not reach rows that are done.
//
// Made to fail: with sessions.max taken as set where it is not, the first list lacks sessions-unlimited.
func TestPreflightClean(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(`CREATE TABLE w (id bigint PRIMARY KEY, full_name text, v text); INSERT INTO w SELECT n, 'x' FROM generate_series(1, 1000) n; ANALYZE w;
		CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
		CREATE TRIGGER inserts BEFORE INSERT ON w FOR EACH ROW EXECUTE FUNCTION f();
		CREATE TRIGGER others BEFORE UPDATE OF full_name ON w FOR EACH ROW EXECUTE FUNCTION f();
		CREATE TRIGGER off BEFORE UPDATE ON w FOR EACH ROW EXECUTE FUNCTION f(); ALTER TABLE w DISABLE TRIGGER off;
		CREATE TABLE o (id bigint UNIQUE)`)
	job := setJob("v", "upper(t.full_name)")
	job.UpdateStep().Set[0].Value.Functions = []string{"upper"}
	job.Undo = &Undo{None: "the old values are nowhere"}
	if plan := planFor(t, db.Conn(), job, Pace{}); !slices.Equal(ids(plan), []string{"sessions-unlimited", "backup-not-attested"}) {
		t.Errorf("findings %+v", plan.Findings)
	} else {
		says(t, findingOf(plan, "sessions-unlimited"), SeverityNote, "sessions.max is off", "--set sessions.max=")
	}
	job.UpdateStep().From, job.UpdateStep().Join = &Expr{SQL: "public.o AS x"}, &Expr{SQL: "x.id = t.id", Columns: []string{"x.id", "t.id"}}
	if plan := planFor(t, db.Conn(), job, Pace{Limits: Limits{"sessions.max": "8"}}); !slices.Equal(ids(plan), []string{"sources-change", "backup-not-attested"}) || !plan.LockFirst {
		t.Errorf("joined by a unique key, findings %+v; locked first: %v", plan.Findings, plan.LockFirst)
	}
}

// Each finding is turned on by what it is about.
func TestPreflight(t *testing.T) {
	t.Parallel()
	const trigger = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; "
	from := func(from, join string, columns ...string) func(*Job) {
		return func(j *Job) {
			j.UpdateStep().From, j.UpdateStep().Join = &Expr{SQL: from}, &Expr{SQL: join, Columns: columns}
		}
	}
	call := func(name string) func(*Job) {
		return func(j *Job) {
			j.UpdateStep().Set[0].Value = Expr{SQL: name + "(t.n::text)", Functions: []string{name}}
		}
	}
	for _, c := range []struct {
		id       string
		severity Severity
		ddl      string
		edit     func(*Job)
		words    []string
	}{
		{"schema-published", SeverityError, "CREATE PUBLICATION p FOR ALL TABLES", nil, []string{"publication p", "pgbackfill schema sql"}},
		{"no-index", SeverityError, "", func(j *Job) { j.Key = []string{"n"} }, []string{"no btree index begins with (n)", `CREATE INDEX CONCURRENTLY ON public.w ("n")`, "--accept no-index"}},
		{
			"seq-scan", SeverityWarning, "INSERT INTO w SELECT n, repeat('x', 1000) FROM generate_series(1001, 6000) n; CREATE TABLE o (id int UNIQUE)",
			func(j *Job) {
				j.Settings = map[string]string{"enable_indexscan": "off", "enable_bitmapscan": "off", "enable_indexonlyscan": "off"}
				from("o", "o.id = t.id", "o.id", "t.id")(j)
			},
			[]string{"public.w", "ANALYZE"},
		},
		{
			"seq-scan-join", SeverityWarning, "CREATE TABLE o (id int, w_id int); INSERT INTO o SELECT n, n FROM generate_series(1, 80000) n; ANALYZE o",
			from("o", "o.w_id = t.id", "o.w_id", "t.id"),
			[]string{"public.o", "make an index"},
		},
		{"join-may-multiply", SeverityWarning, `CREATE TABLE "O o" (id int, w_id int, UNIQUE (id, w_id)); CREATE INDEX ON "O o" (w_id)`, from(`public."O o" i`, "i.w_id = t.id", "i.w_id", "t.id"), []string{`public."O o"`, "(w_id)"}},
		{"not-idempotent", SeverityWarning, "", func(j *Job) { j.Idempotent = false }, []string{"key (id)", "no closing sweep"}},
		{"volatile-expression", SeverityWarning, "CREATE FUNCTION roll(text) RETURNS text LANGUAGE sql AS 'SELECT $1'", call("roll"), []string{"public.roll(text)"}},
		{"reads-tables", SeverityNote, "CREATE FUNCTION peek(text) RETURNS text STABLE LANGUAGE sql AS 'SELECT $1'", call("peek"), []string{"public.peek(text) is stable", "IMMUTABLE"}},
		{"trigger-fires", SeverityWarning, trigger + "CREATE TRIGGER touch BEFORE UPDATE OF v ON w FOR EACH ROW EXECUTE FUNCTION f()", nil, []string{"touch on public.w (before each row, calls public.f()"}},
		{"rewrite-rule", SeverityWarning, "CREATE RULE r AS ON UPDATE TO w DO ALSO NOTHING", nil, []string{"rules r"}},
		{"referenced-cascade", SeverityWarning, "ALTER TABLE w ADD UNIQUE (v); CREATE TABLE o (w_v text REFERENCES w (v) ON UPDATE CASCADE)", nil, []string{"public.o", "CASCADE"}},
		{"partition-key-written", SeverityWarning, "DROP TABLE w; CREATE TABLE w (id int NOT NULL, v text, n int) PARTITION BY LIST (v); CREATE TABLE w0 PARTITION OF w DEFAULT; CREATE INDEX ON w (id)", func(j *Job) { j.Key = []string{"id"} }, []string{"partitioned by (v)"}},
		{"inheritance-children", SeverityWarning, "CREATE TABLE c () INHERITS (w)", nil, []string{"public.c"}},
		{"unlogged-table", SeverityWarning, "ALTER TABLE w SET UNLOGGED", nil, []string{"SET LOGGED"}},
		{"invalid-index", SeverityWarning, "CREATE INDEX half ON w (n); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'half'::regclass", nil, []string{"half", "DROP INDEX CONCURRENTLY"}},
		{"autovacuum-off", SeverityWarning, "ALTER TABLE w SET (autovacuum_enabled = off)", nil, []string{"public.w"}},
		{"index-on-written", SeverityNote, "CREATE INDEX late ON w (lower(v))", nil, []string{"late", "after the backfill"}},
		{"foreign-key-written", SeverityNote, "CREATE TABLE o (k text PRIMARY KEY); ALTER TABLE w ADD CONSTRAINT fk FOREIGN KEY (v) REFERENCES o NOT VALID", nil, []string{"fk (v) to public.o"}},
		{"constraint-not-valid", SeverityNote, "ALTER TABLE w ADD CONSTRAINT full_v CHECK (v <> '') NOT VALID", nil, []string{"full_v CHECK", "VALIDATE CONSTRAINT"}},
		{"published", SeverityNote, "CREATE PUBLICATION p FOR TABLE w", nil, []string{"published by p"}},
		{"replica-identity-full", SeverityNote, "CREATE PUBLICATION p FOR TABLE w; ALTER TABLE w REPLICA IDENTITY FULL", nil, []string{"public.w", "REPLICA IDENTITY DEFAULT"}},
		{"estimate-off", SeverityNote, "ALTER TABLE w SET (autovacuum_enabled = off); INSERT INTO w SELECT n, repeat('x', 1000) FROM generate_series(1001, 6000) n; ANALYZE w; UPDATE pg_class SET reltuples = 1 WHERE relname = 'w'", nil, []string{"a range of 1000 rows", "ANALYZE public.w"}},
	} {
		t.Run(c.id, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			db.Exec("CREATE TABLE w (id int PRIMARY KEY, v text, n int); INSERT INTO w SELECT n FROM generate_series(1, 1000) n; ANALYZE w; " + c.ddl)
			job := setJob("v", "'x'")
			if c.edit != nil {
				c.edit(&job)
			}
			plan := planFor(t, db.Conn(), job, Pace{})
			f := findingOf(plan, c.id)
			if f == nil {
				t.Fatalf("not found; found were %v", ids(plan))
			}
			says(t, f, c.severity, c.words...)
		})
	}
}

// An ordinary role is told what it may not do and not see.
func TestPreflightOrdinaryRole(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	role, dsn := db.Role("")
	db.Exec("CREATE TABLE w (id int PRIMARY KEY, v text); GRANT SELECT, UPDATE ON w TO " + role)
	plan := planFor(t, pgtest.Connect(t, dsn), setJob("v", "'x'"), Pace{})
	if f := findingOf(plan, "schema-missing"); f == nil {
		t.Errorf("not found that the role may not install the schema: %v", ids(plan))
	} else {
		says(t, f, SeverityError, role, "pgbackfill schema sql")
	}
	if f := findingOf(plan, "no-monitor"); f == nil {
		t.Errorf("not found that the role sees little: %v", ids(plan))
	} else {
		says(t, f, SeverityError, "GRANT pg_monitor TO "+role, "unmonitored=accept")
	}
	without := planFor(t, pgtest.Connect(t, dsn), setJob("v", "'x'"), Pace{Limits: Limits{"unmonitored": "accept"}})
	if findingOf(without, "no-monitor") != nil || findingOf(without, "unmonitored") == nil {
		t.Errorf("said in writing, it is still refused, or not noted: %v", ids(without))
	}
	db.Exec("CREATE SCHEMA pgbackfill")
	if plan := planFor(t, pgtest.Connect(t, dsn), setJob("v", "'x'"), Pace{}); findingOf(plan, "schema-missing") != nil {
		t.Error("the schema is there and is said to be missing")
	}
}

// What concerns a whole server is tried on one of its own.
func TestPreflightServer(t *testing.T) {
	t.Parallel()
	db := pgtest.NewOn(t, pgtest.Cluster(t, localpg.Options{Settings: map[string]string{
		"max_prepared_transactions": "2", "archive_mode": "on", "archive_command": "false", "default_transaction_read_only": "off",
		"autovacuum": "off", "wal_level": "logical",
	}}))
	db.Exec("CREATE TABLE w (id int PRIMARY KEY, v text); ALTER DATABASE " + pgx.Identifier{db.Name()}.Sanitize() + " SET default_transaction_read_only = on")
	standby := pgtest.Standby(t, db.Server(), localpg.StandbyOptions{Name: "replica"})
	conn := db.Conn()
	for _, sql := range []string{"SET default_transaction_read_only = off", "BEGIN", "INSERT INTO w VALUES (1)", "PREPARE TRANSACTION 'forgotten'", "SELECT pg_switch_wal()"} {
		if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
	}
	pgtest.Eventually(t, 30*time.Second, func() error {
		var failed bool
		const seen = "SELECT failed_count > 0 AND EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming') FROM pg_stat_archiver"
		if err := conn.QueryRow(t.Context(), seen).Scan(&failed); err != nil || !failed {
			return errNotCommitted
		}
		return nil
	})
	plan := planFor(t, db.Conn(), setJob("v", "'x'"), Pace{})
	for id, words := range map[string][]string{
		"prepared-transaction": {"forgotten", "ROLLBACK PREPARED"},
		"archive-behind":       {"the last attempt failed", "archive_command"},
		"read-only-default":    {"default_transaction_read_only = on"},
		"autovacuum-off":       {"on the server"},
		"replicas":             {"replica (streaming, async)"},
	} {
		f := findingOf(plan, id)
		if f == nil {
			t.Errorf("%s was not found; found were %v", id, ids(plan))
			continue
		}
		severity := SeverityWarning
		if id == "replicas" {
			severity = SeverityNote
		}
		says(t, f, severity, words...)
	}
	if _, err := conn.Exec(t.Context(), "ROLLBACK PREPARED 'forgotten'"); err != nil {
		t.Fatal(err)
	}
	standbyQueriesAreCancelled(t, db, conn, standby)
}

// standbyQueriesAreCancelled is the finding about a standby without feedback, of a walk in stripes and of no other, and not of who receives by
// logical decoding.
//
// Made to fail: without the slots looked at, the one of logical decoding is told of too.
func standbyQueriesAreCancelled(t *testing.T, db *pgtest.DB, conn *pgx.Conn, standby *localpg.Cluster) {
	t.Helper()
	const rows = "CREATE TABLE s (id int PRIMARY KEY, v text, pad text); INSERT INTO s SELECT i, NULL, repeat('x', 200) FROM generate_series(1, 3000) AS i; ANALYZE s"
	if _, err := conn.Exec(t.Context(), rows, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	subscriber := pgtest.Connect(t, db.DSN()+"&replication=database&application_name=subscriber").PgConn()
	if _, err := subscriber.Exec(t.Context(), "CREATE_REPLICATION_SLOT feed TEMPORARY LOGICAL pgoutput").ReadAll(); err != nil {
		t.Fatal(err)
	}
	subscriber.Frontend().Send(&pgproto3.Query{String: "START_REPLICATION SLOT feed LOGICAL 0/0 (proto_version '1', publication_names 'none')"})
	if err := subscriber.Frontend().Flush(); err != nil {
		t.Fatal(err)
	}
	if message, err := subscriber.ReceiveMessage(t.Context()); err != nil {
		t.Fatalf("%v, %v", message, err)
	}
	found := func(walk WalkKind) *Finding {
		job := setJob("v", "'x'")
		job.Table.Name, job.Walk = "s", walk
		return findingOf(planFor(t, conn, job, Pace{}), "standby-queries")
	}
	if f := found(WalkHeap); f == nil {
		t.Error("nothing is said of the standby's queries")
	} else if says(t, f, SeverityWarning, "replica: no hot_standby_feedback", "max_standby_streaming_delay", "walk: key"); strings.Contains(f.Evidence, "subscriber") {
		t.Errorf("the subscriber is no standby: %s", f.Evidence)
	}
	if f := found(WalkKey); f != nil {
		t.Errorf("of a walk by key: %+v", f)
	}
	there := pgtest.Connect(t, standby.DSN(db.Name()))
	for _, sql := range []string{"ALTER SYSTEM SET hot_standby_feedback = on", "SELECT pg_reload_conf()"} {
		if _, err := there.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	pgtest.Eventually(t, 30*time.Second, func() error {
		if f := found(WalkHeap); f != nil {
			return errors.New(f.Evidence)
		}
		return nil
	})
}

// What takes hours, gigabytes or another server to be real is told from what the catalogue would say.
func TestPreflightOfWhatTakesLong(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	conn := db.Conn()
	quiet := func() *planning {
		return &planning{conn: conn, plan: &Plan{
			Server: catalog.Server{BackendPID: conn.PgConn().PID(), FreezeMaxAge: 200_000_000},
			Table:  catalog.Table{Quoted: "public.w", Columns: []catalog.Column{{Name: "id", Width: 8}}, FrozenAge: 200_000_000},
		}}
	}
	for _, c := range []struct {
		id   string
		edit func(*planning)
		says string
	}{
		{"foreign-partition", func(pl *planning) { pl.plan.Table.Foreign = []string{"public.away"} }, "public.away under public.w"},
		{"wraparound", func(pl *planning) { pl.plan.Table.FrozenAge++ }, "VACUUM (FREEZE) public.w"},
		{"old-transaction", func(pl *planning) {
			pl.activity.Oldest = []catalog.Transaction{{PID: 7, Role: "ann", App: "psql", State: "idle in transaction", Age: time.Hour}}
		}, "pid 7 (ann, psql, idle in transaction) for 1h"},
		{"replica-lag", func(pl *planning) {
			pl.activity.Standbys = []catalog.Standby{{Name: "fine", Lag: 1}, {Name: "slow", Lag: lagBytes + 1, LagTime: -1}}
		}, "slow by 256.0 MiB"},
		{"replica-lag", func(pl *planning) {
			pl.activity.Standbys = []catalog.Standby{{Name: "late", Lag: -1, LagTime: lagTime + 1}}
		}, "late by"},
		{"slot-retains", func(pl *planning) {
			pl.activity.Slots = []catalog.Slot{{Name: "used", Active: true, Retained: 2 * slotBytes}, {Name: "forgotten", Kind: "logical", Retained: slotBytes + 1}}
		}, "forgotten (logical"},
		{"archive-behind", func(pl *planning) { pl.activity.ArchiveBacklog = archiveFiles + 1 }, "65 files wait"},
		{"disk-growth", func(pl *planning) { pl.scope, pl.plan.EstimatedRows = 100_000_000, 100_000_000 }, "3.4 GiB"},
		{"pooler", func(pl *planning) { pl.plan.Server.BackendPID++ }, "pool by session"},
	} {
		i := slices.IndexFunc(preflight, func(k check) bool { return k.id == c.id })
		if n := preflight[i].look(quiet()); n != nil {
			t.Errorf("%s is found where there is nothing: %+v", c.id, n)
		}
		pl := quiet()
		c.edit(pl)
		n := preflight[i].look(pl)
		if n == nil || !strings.Contains(n.title+n.evidence+n.remedy, c.says) {
			t.Errorf("%s: %+v; want it to say %q", c.id, n, c.says)
		}
	}
}

// A plan shows what is sent, with the server's own plan of it, and records what must not change.
func TestPlanWhole(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(`CREATE SCHEMA app; CREATE TABLE app.w (id bigint PRIMARY KEY, full_name varchar(40) NOT NULL, v text, unrelated int);
		INSERT INTO app.w SELECT n, 'x' || n, NULL, n FROM generate_series(1, 5000) n; ANALYZE app.w;
		CREATE FUNCTION app.tidy(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1'`)
	job := setJob("v", "tidy(t.full_name)")
	job.UpdateStep().Set[0].Value.Functions, job.UpdateStep().Set[0].Value.Columns = []string{"tidy"}, []string{"t.full_name"}
	job.Settings = map[string]string{"search_path": "app, missing"}
	job.Where = &Expr{SQL: "t.id > 2500", Columns: []string{"t.id"}}
	conn := db.Conn()
	plan := planFor(t, conn, job, Pace{Workers: 1})
	if plan.SearchPath != `"app"` || plan.Index != "w_pkey" || plan.Walk != "key" || plan.LockFirst || plan.EstimatedRows != 5000 || plan.EstimatedChunks < 1 || plan.EstimatedTime != 50*time.Millisecond || plan.EstimatedWAL < 200_000 {
		t.Errorf("search_path %s, index %s, walk %s (%s), estimated %d rows, %d chunks, %s, %d bytes", plan.SearchPath, plan.Index, plan.Walk,
			plan.WalkReason, plan.EstimatedRows, plan.EstimatedChunks, plan.EstimatedTime, plan.EstimatedWAL)
	}
	explained := map[string]bool{}
	for _, s := range plan.Statements {
		explained[s.Name] = explained[s.Name] || strings.Contains(s.Explain, "w_pkey")
	}
	for _, name := range []string{"boundary", "count", "update", "last key"} {
		if !explained[name] {
			t.Errorf("statement %s is not shown with the server's plan of it", name)
		}
	}
	for _, line := range []string{"table", "column id", "column full_name", "column v", "key 1", "key index", "function app.tidy(text)"} {
		if plan.Fingerprint[line] == "" {
			t.Errorf("the fingerprint lacks %q: %v", line, plan.Fingerprint)
		}
	}
	if plan.Fingerprint["column unrelated"] != "" || plan.Fingerprint["column full_name"] != "number 2: character varying(40) NOT NULL" {
		t.Errorf("the fingerprint is %v", plan.Fingerprint)
	}
	same := planFor(t, conn, job, Pace{}).Fingerprint
	for _, change := range []struct{ sql, line string }{
		{"ANALYZE app.w; INSERT INTO app.w SELECT n, 'y' FROM generate_series(6000, 9000) n; ALTER TABLE app.w ADD COLUMN later int", ""},
		{"ALTER TABLE app.w ALTER COLUMN full_name TYPE varchar(50)", "column full_name"},
		{"CREATE OR REPLACE FUNCTION app.tidy(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1 || 1'", "function app.tidy(text)"},
		{"CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER g BEFORE UPDATE ON app.w FOR EACH ROW EXECUTE FUNCTION app.f()", "trigger g on app.w"},
		{"ALTER TABLE app.w DROP CONSTRAINT w_pkey; ALTER TABLE app.w ADD PRIMARY KEY (id) INCLUDE (v)", "key index"},
	} {
		db.Exec(change.sql)
		now := planFor(t, conn, job, Pace{}).Fingerprint
		var changed []string
		for line := range now {
			if now[line] != same[line] {
				changed = append(changed, line)
			}
		}
		if want := strings.Fields(change.line); len(changed) != min(1, len(want)) || len(changed) == 1 && changed[0] != change.line {
			t.Errorf("%s changed the lines %v, want %q", change.sql, changed, change.line)
		}
		same = now
	}
}

// Statistics that are wide of the mark must not make the boundary read and sort a segment to its end.
func TestPlanBoundaryWalksTheIndex(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(`CREATE TABLE w (id int PRIMARY KEY, v text) WITH (autovacuum_enabled = off); INSERT INTO w SELECT n, repeat('x', 1000) FROM generate_series(1, 6000) n; ANALYZE w;
		UPDATE pg_class SET reltuples = 1 WHERE relname = 'w'`)
	explained := 0
	for _, s := range planFor(t, db.Conn(), setJob("v", "'x'"), Pace{}).Statements {
		if (s.Name == "boundary" || s.Name == "last key") && s.Explain != "" {
			explained++
			if strings.Contains(s.Explain, "Sort") || !strings.Contains(s.Explain, "w_pkey") {
				t.Errorf("the statement %s would be run by\n%s", s.Name, s.Explain)
			}
		}
	}
	if explained != 2 {
		t.Errorf("%d statements were explained, want 2", explained)
	}
}
