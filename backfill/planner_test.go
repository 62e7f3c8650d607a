package backfill

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/internal/localpg"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// setJob is a job that assigns one column of the table w.
func setJob(column, value string) Job {
	return Job{
		Name: "j", Table: TableName{Name: "w"}, Origin: "j.yaml", Idempotent: true,
		Steps: []Step{{Name: "update", Update: &Update{SkipUnchanged: true, Set: []Assignment{{Column: column, Value: Expr{SQL: value, Line: 7}}}}}},
	}
}

// planFor plans, and checks what holds of every plan.
func planFor(t *testing.T, conn *pgx.Conn, job Job, pace Pace) *Plan {
	t.Helper()
	plan, err := Planner{}.Plan(t.Context(), conn, job, pace)
	if err != nil {
		t.Fatal(err)
	}
	if conn.PgConn().TxStatus() != 'I' {
		t.Error("planning left a transaction open")
	}
	return plan
}

// tiles asserts that the segments hold every row of the table once, as the server itself counts.
func tiles(t *testing.T, db *pgtest.DB, plan *Plan) {
	t.Helper()
	s, err := statementsOf(plan)
	if err != nil {
		t.Fatal(err)
	}
	conn := db.Conn().PgConn()
	var sum int64
	var after Key
	for i, seg := range plan.Segments {
		if seg.No != i+1 || seg.Pass != PassWalk {
			t.Errorf("segment %d is %+v", i+1, seg)
		}
		if !seg.Nulls {
			if !slices.Equal(seg.Range.After, after) {
				t.Errorf("segment %d begins after %s, the one before ended at %s", seg.No, seg.Range.After, after)
			}
			after = seg.Range.Through
		}
		count := s.walk.Count(pgsql.Range{After: seg.Range.After, Through: seg.Range.Through, Nulls: seg.Nulls})
		answers, err := exchange(t.Context(), conn, pgsql.Begin, s.keySettings(seg, plan.Pace), count, pgsql.Commit)
		if err != nil {
			t.Fatalf("segment %d: %v", seg.No, err)
		}
		n := number(answers[2].rows[0][0])
		if n == 0 && !seg.Nulls {
			t.Errorf("segment %d, %s, is empty", seg.No, seg.Range)
		}
		sum += n
	}
	if rows := pgtest.One[int64](db, "SELECT count(*) FROM "+plan.Table.Quoted); rows != sum {
		t.Errorf("the segments hold %d rows, the table %d", sum, rows)
	}
	if len(plan.Segments) > 0 && len(s.walk.Key) > 0 && plan.Segments[len(plan.Segments)-1].Range.After != nil && after == nil {
		t.Error("the last segment has no end")
	}
}

// The bounds of every sort of key survive as text, and the segments tile the table in the server's own order.
func TestPlanKeys(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, ddl string
		key       []string
		segments  int // at least
	}{
		{"bigint with negative numbers", "CREATE TABLE w (id bigint PRIMARY KEY, v int); INSERT INTO w SELECT n - 500 FROM generate_series(1, 1000) n", nil, 16},
		{"numeric with NaN and infinity", "CREATE TABLE w (id numeric PRIMARY KEY, v int); INSERT INTO w SELECT n / 7.0 - 30 FROM generate_series(1, 997) n; INSERT INTO w VALUES ('NaN'), ('Infinity'), ('-Infinity')", nil, 16},
		{"timestamps at infinity", "CREATE TABLE w (id timestamptz(3) PRIMARY KEY, v int); INSERT INTO w SELECT '2020-01-01'::timestamptz + n * interval '1.001s' FROM generate_series(1, 998) n; INSERT INTO w VALUES ('infinity'), ('-infinity')", nil, 16},
		{"float with NaN and -0", "CREATE TABLE w (id float8 PRIMARY KEY, v int); INSERT INTO w SELECT n / 3.0 - 100.1 FROM generate_series(1, 998) n; INSERT INTO w VALUES ('NaN'), ('-0')", nil, 16},
		{"uuid", "CREATE TABLE w (id uuid PRIMARY KEY, v int); INSERT INTO w SELECT md5(n::text)::uuid FROM generate_series(1, 1000) n", nil, 16},
		{"text that looks like something else", `CREATE TABLE w (id text PRIMARY KEY, v int);
			INSERT INTO w SELECT chr(97 + n % 26) || n || E',"{}\\''' || n FROM generate_series(1, 900) n;
			INSERT INTO w VALUES (''), ('NULL'), ('null'), ('{'), ('"'), (E'\\'), (','), ('(1,2)'), (E'a\nb'), ('ä'), ('Z'), ('z')`, nil, 14},
		{"char(5)", "CREATE TABLE w (id char(5) PRIMARY KEY, v int); INSERT INTO w SELECT to_char(n, 'FM9999') FROM generate_series(1, 1000) n", nil, 16},
		{"bytea", `CREATE TABLE w (id bytea PRIMARY KEY, v int); INSERT INTO w SELECT decode(md5(n::text), 'hex') FROM generate_series(1, 1000) n`, nil, 16},
		{"collation C", `CREATE TABLE w (id text COLLATE "C" PRIMARY KEY, v int); INSERT INTO w SELECT CASE WHEN n % 2 = 0 THEN 'x' ELSE 'X' END || n FROM generate_series(1, 1000) n`, nil, 16},
		{"another collation than the column's", `CREATE TABLE w (id text COLLATE "und-x-icu" NOT NULL, v int); CREATE UNIQUE INDEX ON w (id COLLATE "C"); INSERT INTO w SELECT CASE WHEN n % 2 = 0 THEN 'x' ELSE 'X' END || n FROM generate_series(1, 1000) n`, nil, 16},
		{"nondeterministic collation", `CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
			CREATE TABLE w (id text COLLATE ci NOT NULL, v int); CREATE INDEX ON w (id); INSERT INTO w SELECT CASE WHEN n % 2 = 0 THEN 'x' ELSE 'X' END || n / 2 FROM generate_series(1, 1000) n`, []string{"id"}, 16},
		{"citext", "CREATE EXTENSION citext; CREATE TABLE w (id citext PRIMARY KEY, v int); INSERT INTO w SELECT CASE WHEN n % 2 = 0 THEN 'x' ELSE 'X' END || n FROM generate_series(1, 1000) n", nil, 16},
		{"text_pattern_ops", "CREATE TABLE w (id varchar(20) NOT NULL, v int); CREATE UNIQUE INDEX ON w (id text_pattern_ops); INSERT INTO w SELECT 'Ab' || n FROM generate_series(1, 1000) n", nil, 16},
		{"descending index", "CREATE TABLE w (id int NOT NULL, v int); CREATE UNIQUE INDEX ON w (id DESC); INSERT INTO w SELECT n FROM generate_series(1, 1000) n", nil, 16},
		{"composite with few first values", "CREATE TABLE w (a int, id text, v int, PRIMARY KEY (a, id)); INSERT INTO w SELECT n % 3, n::text FROM generate_series(1, 1000) n", nil, 16},
		{"columns with awkward names", `CREATE TABLE w ("Se""lf" int, n int, place int, v int, PRIMARY KEY ("Se""lf", n, place)); INSERT INTO w SELECT n % 3, n % 5, n FROM generate_series(1, 1000) n`, nil, 16},
		{"duplicates", "CREATE TABLE w (id int NOT NULL, v int); CREATE INDEX ON w (id); INSERT INTO w SELECT n % 4 FROM generate_series(1, 1000) n", []string{"id"}, 4},
		{"one value", "CREATE TABLE w (id int NOT NULL, v int); CREATE INDEX ON w (id); INSERT INTO w SELECT 1 FROM generate_series(1, 1000) n", []string{"id"}, 1},
		{"no index", "CREATE TABLE w (id int, v int); INSERT INTO w SELECT n FROM generate_series(1, 1000) n", []string{"id"}, 17},
		{"nulls in a composite key", "CREATE TABLE w (a int, b int, v int); CREATE INDEX ON w (a, b); INSERT INTO w SELECT nullif(n % 10, 0), nullif(n % 7, 0) FROM generate_series(1, 1000) n", []string{"a", "b"}, 17},
		{"nothing but nulls", "CREATE TABLE w (a int, v int); CREATE INDEX ON w (a); INSERT INTO w SELECT NULL FROM generate_series(1, 10) n", []string{"a"}, 1},
		{"enum", "CREATE TYPE mood AS ENUM ('z', 'b,\"', 'a'); CREATE TABLE w (m mood, id int, v int, PRIMARY KEY (m, id)); INSERT INTO w SELECT (enum_range(NULL::mood))[n % 3 + 1], n FROM generate_series(1, 1000) n", nil, 16},
		{"array", "CREATE TABLE w (id text[] PRIMARY KEY, v int); INSERT INTO w SELECT ARRAY[n::text, NULL, 'a,b'] FROM generate_series(1, 1000) n", nil, 16},
		{"domain", "CREATE DOMAIN code AS varchar(6) CHECK (VALUE <> ''); CREATE TABLE w (id code PRIMARY KEY, v int); INSERT INTO w SELECT n FROM generate_series(1, 1000) n", nil, 16},
		{"interval", "CREATE TABLE w (id interval PRIMARY KEY, v int); INSERT INTO w SELECT n * interval '-1 day 1.5s' FROM generate_series(1, 1000) n", nil, 16},
		{"partitions", "CREATE TABLE w (id int PRIMARY KEY, v int) PARTITION BY HASH (id); CREATE TABLE w0 PARTITION OF w FOR VALUES WITH (modulus 2, remainder 0); CREATE TABLE w1 PARTITION OF w FOR VALUES WITH (modulus 2, remainder 1); INSERT INTO w SELECT n FROM generate_series(1, 1000) n", nil, 16},
		{"one row", "CREATE TABLE w (id int PRIMARY KEY, v int); INSERT INTO w VALUES (-3)", nil, 1},
		{"no row", "CREATE TABLE w (id int PRIMARY KEY, v int)", nil, 0},
		{"no row, and a key that may be null", "CREATE TABLE w (id int, v int); CREATE INDEX ON w (id)", []string{"id"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			db.Exec(c.ddl)
			job := setJob("v", "1")
			job.Key = c.key
			plan := planFor(t, db.Conn(), job, Pace{Workers: 2, ChunkRows: 10})
			tiles(t, db, plan)
			if len(plan.Segments) < c.segments || len(plan.Segments) > 17 || c.segments == 0 && len(plan.Segments) > 0 {
				t.Errorf("%d segments, want at least %d: %v", len(plan.Segments), c.segments, plan.Segments)
			}
			if rows := pgtest.One[int64](db, "SELECT count(*) FROM w WHERE NOT ("+nullTest(c.key)+")"); plan.EstimatedRows != rows {
				t.Errorf("a small table's rows are counted: %d, want %d", plan.EstimatedRows, rows)
			}
			if nulls := len(plan.Segments) > 0 && plan.Segments[0].Nulls; nulls != (slices.ContainsFunc(plan.Key, func(k pgsql.KeyColumn) bool { return k.Nullable }) && len(plan.Segments) > 0) {
				t.Errorf("a segment for NULLs: %v", nulls)
			}
		})
	}
}

func nullTest(key []string) string {
	parts := []string{"false"}
	for _, k := range key {
		parts = append(parts, pgsql.Ident(k)+" IS NULL")
	}
	return strings.Join(parts, " OR ")
}

// Chunks are committed without waiting for the disk, unless somebody said otherwise or the server waits for standbys:
// there the waiting also keeps a run from getting far ahead of them.
//
// Made to fail: without the look at synchronous_standby_names the last case is "off" too.
func TestPlanChoosesHowChunksAreCommitted(t *testing.T) {
	t.Parallel()
	waits := pgtest.Cluster(t, localpg.Options{Settings: map[string]string{"synchronous_standby_names": "somebody", "synchronous_commit": "local"}})
	for _, c := range []struct {
		name, said, want string
		server           *localpg.Cluster
	}{
		{"nobody said anything", "", "off", pgtest.Shared(t)},
		{"the configuration says on", "on", "on", pgtest.Shared(t)},
		{"the server waits for standbys", "", "", waits},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewOn(t, c.server)
			db.Exec("CREATE TABLE w (id int PRIMARY KEY, v int)")
			plan := planFor(t, db.Conn(), setJob("v", "1"), Pace{Workers: 2, SynchronousCommit: c.said})
			if plan.Pace.SynchronousCommit != c.want {
				t.Errorf("synchronous_commit is %q, want %q", plan.Pace.SynchronousCommit, c.want)
			}
		})
	}
}

// A large table is cut by what statistics know, each way once, and its rows are about those that there are.
//
// Made to fail: with the rows of the server's planner for a sample too, the rows that an update has left dead count.
func TestPlanLargeTable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, ddl, how string
		key            []string
	}{
		{"histogram", "CREATE TABLE w (id int PRIMARY KEY, pad text, v int); INSERT INTO w SELECT n, repeat('x', 100) FROM generate_series(1, 60000) n; ANALYZE w", "the histogram in pg_stats", nil},
		{"histogram of text", "CREATE TABLE w (id text PRIMARY KEY, pad text, v int); INSERT INTO w SELECT 'it''s \"' || n || '\\', repeat('x', 100) FROM generate_series(1, 60000) n; ANALYZE w", "the histogram in pg_stats", nil},
		{"histogram of another order", `CREATE TABLE w (id text COLLATE "und-x-icu" NOT NULL, pad text, v int); CREATE UNIQUE INDEX ON w (id COLLATE "C"); INSERT INTO w SELECT CASE WHEN n % 2 = 0 THEN 'x' ELSE 'X' END || n, repeat('x', 100) FROM generate_series(1, 60000) n; ANALYZE w`, "the histogram in pg_stats", nil},
		{"sample, for there are no statistics", "CREATE TABLE w (id uuid PRIMARY KEY, pad text, v int) WITH (autovacuum_enabled = off); INSERT INTO w SELECT md5(n::text)::uuid, repeat('x', 100) FROM generate_series(1, 60000) n", "a sample of 400 pages", nil},
		{"sample, for the table has grown", "CREATE TABLE w (id uuid PRIMARY KEY, pad text, v int) WITH (autovacuum_enabled = off); INSERT INTO w SELECT md5(n::text)::uuid, repeat('x', 100) FROM generate_series(1, 1000) n; ANALYZE w; INSERT INTO w SELECT md5(n::text)::uuid, repeat('x', 100) FROM generate_series(1001, 60000) n", "a sample of 400 pages", nil},
		{"sample, for a run has left dead rows", "CREATE TABLE w (id int PRIMARY KEY, pad text, v int) WITH (autovacuum_enabled = off); INSERT INTO w SELECT n, repeat('x', 100) FROM generate_series(1, 60000) n; ANALYZE w; UPDATE w SET v = 1; UPDATE w SET v = 2", "a sample of 400 pages", nil},
		{"sample of a composite key", "CREATE TABLE w (a int, id int, pad text, v int, PRIMARY KEY (a, id)); INSERT INTO w SELECT n % 3, n, repeat('x', 100) FROM generate_series(1, 60000) n; ANALYZE w", "a sample of 400 pages", nil},
		{"sample of partitions", "CREATE TABLE w (id int PRIMARY KEY, pad text, v int) PARTITION BY HASH (id); CREATE TABLE w0 PARTITION OF w FOR VALUES WITH (modulus 2, remainder 0) WITH (autovacuum_enabled = off); CREATE TABLE w1 PARTITION OF w FOR VALUES WITH (modulus 2, remainder 1) WITH (autovacuum_enabled = off); INSERT INTO w SELECT n, repeat('x', 100) FROM generate_series(1, 60000) n", "a sample of 400 pages", nil},
		{"histogram of partitions", "CREATE TABLE w (id int PRIMARY KEY, pad text, v int) PARTITION BY HASH (id); CREATE TABLE w0 PARTITION OF w FOR VALUES WITH (modulus 2, remainder 0); CREATE TABLE w1 PARTITION OF w FOR VALUES WITH (modulus 2, remainder 1); INSERT INTO w SELECT n, repeat('x', 100) FROM generate_series(1, 60000) n; ANALYZE w", "the histogram in pg_stats", nil},
		{"distances, for the pages are empty", "CREATE TABLE w (id int PRIMARY KEY, pad text, v int) WITH (autovacuum_enabled = off, fillfactor = 10); INSERT INTO w SELECT n, repeat('x', 700) FROM generate_series(1, 5000) n; DELETE FROM w WHERE id % 125 <> 0", "the least and the greatest key", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			db.Exec(c.ddl)
			conn := db.Conn()
			plan := planFor(t, conn, setJob("v", "1"), Pace{Workers: 2, ChunkRows: 10})
			if !strings.Contains(plan.WalkReason, c.how) {
				t.Errorf("the reason is %q, want %q", plan.WalkReason, c.how)
			}
			tiles(t, db, plan)
			if len(plan.Segments) != 16 {
				t.Errorf("%d segments, want 8 for each of 2 workers", len(plan.Segments))
			}
			if strings.HasPrefix(c.name, "distances") {
				return
			}
			if plan.EstimatedRows < 45_000 || plan.EstimatedRows > 75_000 {
				t.Errorf("%d rows estimated, there are 60000", plan.EstimatedRows)
			}
			for _, s := range plan.Segments {
				if part := float64(s.EstimatedRows*16) / float64(plan.EstimatedRows); part < 0.3 || part > 2.5 {
					t.Errorf("segment %d of %d rows is far from its part of the table", s.No, s.EstimatedRows)
				}
			}
			again := planFor(t, conn, setJob("v", "1"), Pace{Workers: 2, ChunkRows: 10})
			if fmt.Sprint(again.Segments) != fmt.Sprint(plan.Segments) {
				t.Error("planned again, the same table is cut in another way")
			}
		})
	}
}

// Each refusal names the place, what is wrong and what to do.
func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	role, dsn := db.Role("")
	db.Exec(`CREATE TABLE w (id int PRIMARY KEY, full_name text, n int NOT NULL DEFAULT 0, twice int GENERATED ALWAYS AS (n * 2) STORED,
			always int GENERATED ALWAYS AS IDENTITY, at timestamptz);
		CREATE VIEW v AS SELECT * FROM w;
		CREATE TABLE other (id int); GRANT SELECT ON w TO ` + role + `; INSERT INTO w VALUES (1);
		CREATE TABLE secret (id int PRIMARY KEY, v int); ALTER TABLE secret ENABLE ROW LEVEL SECURITY; GRANT ALL ON secret TO ` + role + `;
		CREATE TABLE anonymous (id int NOT NULL UNIQUE, v text); CREATE PUBLICATION p FOR TABLE anonymous;
		CREATE TABLE wide (id int, pad text) WITH (fillfactor = 10); INSERT INTO wide SELECT n, repeat('x', 700) FROM generate_series(1, 10100) n`)
	edit := func(change func(*Job)) Job {
		job := setJob("full_name", "'x'")
		change(&job)
		return job
	}
	for _, c := range []struct {
		name  string
		job   Job
		dsn   string
		words []string
	}{
		{"missing table", edit(func(j *Job) { j.Table.Name = "ww" }), "", []string{"j.yaml: table", "no table ww", "did you mean public.w"}},
		{"view", edit(func(j *Job) { j.Table.Name = "v" }), "", []string{"j.yaml: table", "public.v is a view"}},
		{"missing key", edit(func(j *Job) { j.Key = []string{"ident"} }), "", []string{"j.yaml: key", "no column ident"}},
		{"missing column", setJob("fullname", "'x'"), "", []string{"j.yaml:7", "no column fullname", "did you mean full_name?"}},
		{"several at once", edit(func(j *Job) {
			j.UpdateStep().Set = append(j.UpdateStep().Set, Assignment{Column: "full_name", Value: Expr{SQL: "'y'", Line: 8}}, Assignment{Column: "nope", Value: Expr{SQL: "1", Line: 9}})
		}), "", []string{"j.yaml:8", "assigned twice", "j.yaml:9", "no column nope"}},
		{"key", setJob("id", "1"), "", []string{"j.yaml:7", "id is part of the key"}},
		{"generated", setJob("twice", "1"), "", []string{"j.yaml:7", "generated by the table itself", "(n * 2)"}},
		{"identity", setJob("always", "1"), "", []string{"GENERATED ALWAYS AS IDENTITY"}},
		{"wrong column in an expression", setJob("full_name", "upper(\n  t.ful_name)"), "", []string{"j.yaml:8", "set: full_name", "SQLSTATE 42703", "did you mean full_name?", "\n    t.ful_name)\n    ^"}},
		{"after characters of several bytes", setJob("full_name", "'ÄÖÜ' || nix"), "", []string{"j.yaml:7", "\n  'ÄÖÜ' || nix\n           ^"}},
		{"wrong type", setJob("n", "'x'::text"), "", []string{"j.yaml:7", "set: n", "SQLSTATE 42804", "type integer", "cast the value"}},
		{"missing function", setJob("n", "f(t.n)"), "", []string{"j.yaml:7", "SQLSTATE 42883", "search_path"}},
		{"where", edit(func(j *Job) { j.Where = &Expr{SQL: "t.n", Line: 12} }), "", []string{"j.yaml:12", "in where", "boolean"}},
		{"join", edit(func(j *Job) {
			j.UpdateStep().From, j.UpdateStep().Join = &Expr{SQL: "other o", Line: 20}, &Expr{SQL: "o.ide = t.id", Line: 21, Columns: []string{"o.ide", "t.id"}}
		}), "", []string{"j.yaml:21", "in join", "o.ide does not exist", "did you mean id?"}},
		{"from that t is not seen in", edit(func(j *Job) {
			j.UpdateStep().From, j.UpdateStep().Join = &Expr{SQL: "(SELECT 1) one LEFT JOIN other o ON o.id = t.id", Line: 20}, &Expr{SQL: "true", Line: 21}
		}), "", []string{"j.yaml:20", "in from", "invalid reference", "LATERAL (SELECT"}},
		{"from", edit(func(j *Job) {
			j.UpdateStep().From, j.UpdateStep().Join = &Expr{SQL: "othr o", Line: 20}, &Expr{SQL: "o.id = t.id", Line: 21}
		}), "", []string{"j.yaml:20", "in from", `"othr" does not exist`}},
		{"setting", edit(func(j *Job) { j.Settings = map[string]string{"work_mem": "much"} }), "", []string{"j.yaml", `work_mem: "much"`, "settings:"}},
		{"privilege", setJob("full_name", "'x'"), dsn, []string{"table public.w", "lacks UPDATE (full_name)", "GRANT UPDATE ON public.w TO"}},
		{"privilege on another table", Job{
			Name: "j", Table: TableName{Name: "secret2"}, Origin: "j.yaml", Steps: []Step{{Name: "update", Update: &Update{
				Set:  []Assignment{{Column: "v", Value: Expr{SQL: "o.id"}}},
				From: &Expr{SQL: "other o"}, Join: &Expr{SQL: "o.id = t.id", Columns: []string{"o.id", "t.id"}},
			}}},
		}, dsn, []string{"j.yaml", "permission denied for table other", "grant what is missing"}},
		{"row security", edit(func(j *Job) { j.Table.Name, j.UpdateStep().Set[0].Column = "secret", "v" }), dsn, []string{"row security applies", "BYPASSRLS"}},
		{"published without replica identity", edit(func(j *Job) { j.Table.Name, j.UpdateStep().Set[0].Column = "anonymous", "v" }), "", []string{"table public.anonymous", "no replica identity", "p publishes", "REPLICA IDENTITY USING INDEX"}},
		{"large and without index", edit(func(j *Job) {
			j.Table.Name, j.Key, j.UpdateStep().Set[0].Column = "wide", []string{"id"}, "pad"
		}), "", []string{"no index serves a walk", `CREATE INDEX CONCURRENTLY ON public.wide ("id")`}},
	} {
		if c.name == "privilege on another table" {
			db.Exec("CREATE TABLE secret2 (id int PRIMARY KEY, v int); GRANT ALL ON secret2 TO " + role)
		}
		conn := db.Conn()
		if c.dsn != "" {
			conn = pgtest.Connect(t, c.dsn)
		}
		_, err := Planner{}.Plan(t.Context(), conn, c.job, Pace{})
		if !errors.Is(err, ErrInput) {
			t.Errorf("%s: the error is %v, not invalid input", c.name, err)
			continue
		}
		for _, w := range c.words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: the error is\n%s\nand does not say %q", c.name, err, w)
			}
		}
		if conn.PgConn().TxStatus() != 'I' {
			t.Errorf("%s: a transaction was left open", c.name)
		}
	}
}

func TestPlanOnStandby(t *testing.T) {
	t.Parallel()
	db := pgtest.NewOn(t, pgtest.Cluster(t, localpg.Options{}))
	db.Exec("CREATE TABLE w (id int PRIMARY KEY, v int)")
	conn := pgtest.Connect(t, pgtest.Standby(t, db.Server(), localpg.StandbyOptions{}).DSN(db.Name()))
	_, err := Planner{}.Plan(t.Context(), conn, setJob("v", "1"), Pace{})
	if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), "standby") || !strings.Contains(err.Error(), "connect to the primary") {
		t.Errorf("the error is %v", err)
	}
}
