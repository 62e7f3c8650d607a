package backfill_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/internal/catalog"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/internal/programs"
	"github.com/pgbackfill/pgbackfill/throttle"
)

// ended bounds a run of these tests: one that hangs says what it did last.
const ended = 60 * time.Second

// installed is a fresh database with the engine's schema and what setup makes.
func installed(t testing.TB, setup ...string) *pgtest.DB {
	t.Helper()
	return prepared(t, pgtest.New(t), setup...)
}

func prepared(t testing.TB, db *pgtest.DB, setup ...string) *pgtest.DB {
	t.Helper()
	if err := checkpoint.Install(t.Context(), db.Conn(), checkpoint.InstallOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, sql := range setup {
		db.Exec(sql)
	}
	return db
}

// numbered is a table numbers(id, n) of so many rows, id from 1, every n at 0.
func numbered(rows int) string {
	return fmt.Sprintf("CREATE TABLE numbers (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO numbers SELECT generate_series(1, %d)", rows)
}

// sets is a job that assigns expressions to columns of a table; key names its columns, none is the primary key.
func sets(table string, columns map[string]string, key ...string) backfill.Job {
	job := backfill.Job{
		Name: "test-" + table, Table: backfill.TableName{Schema: "public", Name: table}, Key: key, Idempotent: true,
		Steps: []backfill.Step{{Name: "update", Update: &backfill.Update{SkipUnchanged: true}}},
	}
	for column, sql := range columns {
		job.UpdateStep().Set = append(job.UpdateStep().Set, backfill.Assignment{Column: column, Value: backfill.Expr{SQL: sql}})
	}
	return job
}

// counts is a job that must not do a row twice: n becomes n + 1.
func counts(table string, key ...string) backfill.Job {
	job := sets(table, map[string]string{"n": "t.n + 1"}, key...)
	job.Idempotent, job.UpdateStep().SkipUnchanged = false, false
	return job
}

// testPace is quick to give up on locks and slow to give up on anything else.
func testPace() backfill.Pace {
	return backfill.Pace{
		Workers: 2, ChunkRows: 10, ChunkTarget: 100 * time.Millisecond, ChunkMaxRows: 1000,
		LockTimeout: 200 * time.Millisecond, StatementTimeout: 20 * time.Second, IdleTimeout: 60 * time.Second, ConnectTimeout: 5 * time.Second,
	}
}

// planned is the plan of a job with a segment each time so many rows as step says; a step of 0 makes one segment.
// It stands in for the planner, whose segments are larger.
func planned(t testing.TB, db *pgtest.DB, job backfill.Job, step func() int) *backfill.Plan {
	t.Helper()
	ctx, conn := t.Context(), db.Conn()
	server, err := catalog.ReadServer(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	plan := &backfill.Plan{Job: job, Server: server, Walk: "key", SearchPath: "public", Pace: testPace(), LockFirst: slices.ContainsFunc(job.Steps, func(s backfill.Step) bool { return s.Update != nil && s.Update.From != nil })}
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(ctx)
	if plan.Table, err = catalog.ReadTable(ctx, tx.Conn(), server, job.Table.Schema, job.Table.Name); err != nil {
		t.Fatal(err)
	}
	key, err := plan.Table.ResolveKey(job.Key)
	if err != nil {
		t.Fatal(err)
	}
	plan.Unique = key.Unique
	for _, p := range key.Parts {
		plan.Key = append(plan.Key, pgsql.KeyColumn{
			Name: p.Name, Type: p.Type, Collation: p.Collation, Nullable: p.Nullable,
			Less: p.Less, LessEqual: p.LessEqual, Equal: p.Equal, GreaterEqual: p.GreaterEqual, Greater: p.Greater,
		})
	}
	walk := pgsql.Walk{Table: plan.Table.Quoted, Key: plan.Key}
	texts(t, conn, pgsql.SetLocal(pgsql.KeyPins()...))
	plan.EstimatedRows = int64(len(texts(t, conn, pgsql.Statement{SQL: "SELECT 1 FROM " + plan.Table.Quoted})))
	var after backfill.Key
	add := func(through backfill.Key, rows int64) {
		plan.Segments = append(plan.Segments, backfill.Segment{
			No: len(plan.Segments) + 1, Pass: backfill.PassWalk,
			Range: backfill.KeyRange{After: after, Through: through}, EstimatedRows: rows,
		})
		after = through
	}
	if key.Nullable() {
		plan.Segments = append(plan.Segments, backfill.Segment{No: 1, Pass: backfill.PassWalk, Nulls: true})
	}
	for rows := step(); rows > 0; rows = step() {
		found := texts(t, conn, walk.Boundary(pgsql.Range{After: after}, rows))
		if len(found) == 0 {
			break
		}
		add(found[0], int64(rows))
	}
	if last := texts(t, conn, walk.Last(pgsql.Range{After: after})); len(last) > 0 {
		add(last[0], plan.EstimatedRows)
	}
	return plan
}

func whole() int { return 0 }

func every(rows int) func() int { return func() int { return rows } }

// texts asks for rows in PostgreSQL's text form.
func texts(t testing.TB, conn *pgx.Conn, st pgsql.Statement) [][]string {
	t.Helper()
	result := conn.PgConn().ExecParams(t.Context(), st.SQL, st.Args, nil, nil, nil).Read()
	if result.Err != nil {
		t.Fatalf("%s: %v", st.SQL, result.Err)
	}
	rows := make([][]string, len(result.Rows))
	for i, row := range result.Rows {
		for _, v := range row {
			rows[i] = append(rows[i], string(v))
		}
	}
	return rows
}

// part is how a test takes part in a run; the zero value is one process that works straight to the database.
type part struct {
	dsn      string
	connect  backfill.Connect
	observer backfill.Observer
	ledger   func(*checkpoint.Run) backfill.Ledger
	throttle backfill.Throttle
	blocked  <-chan backfill.Blocked
	abort    context.Context
	most     int64
	// transforms are the functions that the job's transform may name.
	transforms map[string]backfill.TransformFunc
	// before is called when the run is made and before it is worked on.
	before func(*worked)
}

// worked is a process's part in a run, as goroutines of this process.
type worked struct {
	t     testing.TB
	store *checkpoint.Store
	run   *checkpoint.Run
	// stop is the first Ctrl-C.
	stop context.CancelFunc
	done chan struct{}

	summary backfill.Summary
	err     error

	mu     sync.Mutex
	events []backfill.Event
}

// dialing connects as a program would.
func dialing(dsn string) backfill.Connect {
	return func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, dsn) }
}

// join begins, or joins, the run of a plan and works on it until it is over.
func join(t testing.TB, db *pgtest.DB, plan *backfill.Plan, p part) *worked {
	t.Helper()
	if p.dsn == "" {
		p.dsn = db.DSN()
	}
	if p.connect == nil {
		p.connect = dialing(p.dsn)
	}
	if p.throttle == nil {
		rate, err := throttle.NewRate(0)
		if err != nil {
			t.Fatal(err)
		}
		p.throttle = rate
	}
	store, err := checkpoint.Open(t.Context(), p.connect, checkpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	run, created, err := store.Create(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	w := &worked{t: t, store: store, run: run, stop: stop, done: make(chan struct{})}
	o := backfill.Options{
		Run: run.ID(), Plan: plan, Process: run.Process(), Resumed: !created, Connect: p.connect,
		Ledger: run, Segments: run, Control: run, Tasks: run, Quarantine: run, Throttle: p.throttle, Observer: backfill.Tee(w.record, p.observer),
		Abort: p.abort, MaxChunks: p.most, Blocked: p.blocked, Programs: programs.Runner{}, Transforms: p.transforms,
	}
	if p.ledger != nil {
		o.Ledger = p.ledger(run)
	}
	if p.before != nil {
		p.before(w)
	}
	go func() {
		defer close(w.done)
		w.summary, w.err = backfill.Work(ctx, o)
	}()
	t.Cleanup(func() {
		stop()
		select {
		case <-w.done:
		case <-time.After(ended):
			t.Error("the engine did not stop when it was told to")
		}
		closing, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = store.Close(closing) // the server may be gone
	})
	return w
}

func (w *worked) record(e backfill.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

// wait waits for the end of the work.
func (w *worked) wait() (backfill.Summary, error) {
	w.t.Helper()
	select {
	case <-w.done:
	case <-time.After(ended):
		var last []string
		list := w.seen()
		for _, e := range list[max(0, len(list)-20):] {
			last = append(last, fmt.Sprintf("%T%+v", e, e))
		}
		w.t.Fatalf("the run has not ended within %s; its last events:\n%s", ended, strings.Join(last, "\n"))
	}
	return w.summary, w.err
}

// finished waits for the end of the work and fails the test unless the run is finished.
func (w *worked) finished() backfill.Summary {
	w.t.Helper()
	s, err := w.wait()
	if err != nil {
		w.t.Fatalf("the run failed: %v", err)
	}
	if s.State != backfill.StateFinished {
		w.t.Fatalf("the run is %s: %s", s.State, s.Reason)
	}
	return s
}

// seen are the events so far.
func (w *worked) seen() []backfill.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]backfill.Event{}, w.events...)
}

// of are the events of one kind so far.
func of[E backfill.Event](w *worked) []E {
	var list []E
	for _, e := range w.seen() {
		if e, ok := e.(E); ok {
			list = append(list, e)
		}
	}
	return list
}

// until waits for an event.
func until[E backfill.Event](w *worked, what string, is func(E) bool) {
	w.t.Helper()
	pgtest.Eventually(w.t, ended/2, func() error {
		for _, e := range of[E](w) {
			if is(e) {
				return nil
			}
		}
		select {
		case <-w.done:
			return fmt.Errorf("%s: the work has ended without it: %w", what, w.err)
		default:
			return fmt.Errorf("%s: not seen", what)
		}
	})
}

// do works a plan to its end in one process.
func do(t testing.TB, db *pgtest.DB, plan *backfill.Plan) *worked {
	t.Helper()
	w := join(t, db, plan, part{})
	w.finished()
	return w
}

// onceEach fails the test unless n is 1 in every row: each was changed once, by a job that is not idempotent.
func onceEach(t testing.TB, db *pgtest.DB, table string) {
	t.Helper()
	for _, wrong := range pgtest.All[string](db, "SELECT left(t::text, 100) FROM "+table+" AS t WHERE n <> 1 LIMIT 5") {
		t.Errorf("this row was not changed exactly once: %s", wrong)
	}
}

// tiled fails the test unless every row with a key lies in exactly one chunk of the ledger's walk and tail. It looks at
// the ledger's rows alone, not at the segments that they belong to.
func tiled(t testing.TB, db *pgtest.DB, plan *backfill.Plan, run backfill.RunID) {
	t.Helper()
	columns := make([]string, len(plan.Key))
	for i, k := range plan.Key {
		columns[i] = "t." + pgsql.Ident(k.Name)
	}
	side := func(r pgsql.Range, from string) string {
		sql := r.Where(plan.Key, columns)
		for i := range plan.Key {
			sql = strings.ReplaceAll(sql, fmt.Sprintf("$%d::", i+1), fmt.Sprintf("(%s[%d])::", from, i+1))
		}
		return sql
	}
	anyKey := make([]string, len(plan.Key))
	sql := fmt.Sprintf(`SELECT t::text || ' is in ' || count(c.*) || ' chunks' FROM %s AS t
  LEFT JOIN (SELECT c.* FROM pgbackfill.chunks AS c JOIN pgbackfill.segments AS s ON s.run_id = c.run_id AND s.no = c.segment
              WHERE c.run_id = %d AND c.fence IS NULL AND s.pass < 3 AND NOT s.nulls) AS c
    ON (c.after IS NULL OR %s) AND %s
 WHERE %s GROUP BY t.ctid, t.* HAVING count(c.*) <> 1 LIMIT 5`,
		plan.Table.Quoted, run, side(pgsql.Range{After: anyKey}, "c.after"), side(pgsql.Range{Through: anyKey}, "c.through"),
		pgsql.Range{}.Where(plan.Key, columns))
	conn := db.Conn()
	if _, err := conn.Exec(t.Context(), "BEGIN"); err != nil {
		t.Fatal(err)
	}
	texts(t, conn, pgsql.SetLocal(pgsql.KeyPins()...))
	texts(t, conn, pgsql.Statement{SQL: "SET LOCAL search_path = public"})
	for _, row := range texts(t, conn, pgsql.Statement{SQL: sql}) {
		t.Errorf("the ledger's chunks do not tile the table: %s", row[0])
	}
}
