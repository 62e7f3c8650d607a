package checkpoint

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/catalog"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// installed is a fresh database with the schema.
func installed(t *testing.T) *pgtest.DB {
	t.Helper()
	db := pgtest.New(t)
	if err := Install(t.Context(), db.Conn(), InstallOptions{}); err != nil {
		t.Fatal(err)
	}
	return db
}

// connecting makes connections as a program would.
func connecting(dsn string) backfill.Connect {
	return func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, dsn) }
}

func open(t *testing.T, db *pgtest.DB, opts Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), connecting(db.DSN()), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func key(n int) backfill.Key { return backfill.Key{strconv.Itoa(n)} }

// planned is a plan whose segments end at the given keys; the first begins at the beginning. There is no such table, and so it has
// no OID.
func planned(job string, ends ...int) *backfill.Plan {
	plan := &backfill.Plan{
		Job: backfill.Job{
			Name: job, Table: backfill.TableName{Schema: "public", Name: "users"}, Idempotent: true,
			Steps: []backfill.Step{{Name: "update", Update: &backfill.Update{Set: []backfill.Assignment{{Column: "name", Value: backfill.Expr{SQL: "initcap(t.name)"}}}}}},
		},
		Table: catalog.Table{Schema: "public", Name: "users"},
		Walk:  "key", Key: []pgsql.KeyColumn{{Name: "id", Type: "bigint", Less: "pg_catalog.<"}}, Unique: true, SearchPath: `"$user", public`,
		Fingerprint: map[string]string{"column id": "bigint"},
	}
	var after backfill.Key
	for i, end := range ends {
		s := backfill.Segment{No: i + 1, Pass: backfill.PassWalk, Range: backfill.KeyRange{After: after, Through: key(end)}, EstimatedRows: 1000}
		plan.Segments = append(plan.Segments, s)
		plan.EstimatedRows += s.EstimatedRows
		after = key(end)
	}
	return plan
}

// withNulls adds the segment of the rows with a NULL in the key.
func withNulls(plan *backfill.Plan) *backfill.Plan {
	plan.Segments = append(plan.Segments, backfill.Segment{No: len(plan.Segments) + 1, Pass: backfill.PassWalk, Nulls: true})
	return plan
}

func create(t *testing.T, s *Store, plan *backfill.Plan) *Run {
	t.Helper()
	run, created, err := s.Create(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	if !created {
		t.Fatalf("run %d was there already", run.ID())
	}
	return run
}

// chunk is one that goes from after to through; -1 is the beginning of the table.
func chunk(segment, seq, after, through int) backfill.Chunk {
	c := backfill.Chunk{
		Segment: segment, Seq: seq, Range: backfill.KeyRange{Through: key(through)}, RowsSeen: 10, RowsChanged: []int64{7, 1},
		Unmatched: 2, Multiple: 1, Started: time.Now(), Duration: 100 * time.Millisecond, Attempt: 1, Worker: "test",
	}
	if after >= 0 {
		c.Range.After = key(after)
	}
	return c
}

// believing is c from a worker who takes its segment for that one.
func believing(c backfill.Chunk, s backfill.Segment) backfill.Chunk {
	c.SegmentThrough, c.SegmentPass, c.SegmentLeaf = s.Range.Through, s.Pass, s.Leaf
	return c
}

// record is the statement that records c, from a worker who knows where its segment ends.
func record(t *testing.T, run *Run, c backfill.Chunk) pgsql.Statement {
	for pass := backfill.PassWalk; pass <= backfill.PassSweep; pass++ {
		list, err := run.List(context.WithoutCancel(t.Context()), pass)
		if err != nil {
			t.Error(err)
		}
		for _, s := range list {
			if s.No == c.Segment {
				c = believing(c, s.Segment)
			}
		}
	}
	return run.Append(c)
}

// inTransaction sends a chunk's ledger row as a worker does: under the job's search_path, with the commit behind it.
func inTransaction(ctx context.Context, conn *pgx.Conn, searchPath string, st pgsql.Statement) error {
	err := send(ctx, conn, step{Statement: pgsql.Begin}, step{Statement: pgsql.SetLocal(pgsql.JobPins(searchPath, nil)...)},
		step{Statement: st}, commit())
	if err != nil && !conn.IsClosed() {
		if rollback := send(ctx, conn, step{Statement: pgsql.Rollback}); rollback != nil {
			return rollback
		}
	}
	return err
}

func appendTo(t *testing.T, conn *pgx.Conn, run *Run, chunks ...backfill.Chunk) {
	t.Helper()
	for _, c := range chunks {
		if err := inTransaction(t.Context(), conn, "public", record(t, run, c)); err != nil {
			t.Fatalf("chunk %d of segment %d: %v", c.Seq, c.Segment, err)
		}
	}
}

// ends finishes the run in the pass that it is in.
func ends(t *testing.T, run *Run) error {
	t.Helper()
	orders, err := run.Beat(t.Context(), backfill.Beat{})
	if err != nil {
		return err
	}
	done, err := run.Finish(t.Context(), orders.Pass, backfill.Summary{})
	if err == nil && !done {
		err = fmt.Errorf("it is not in the %s", orders.Pass)
	}
	return err
}

// wants fails the test unless err is an error whose text has all parts.
func wants(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q\nhas no %q", err, part)
		}
	}
}

func state(t *testing.T, s *Store, job string) RunInfo {
	t.Helper()
	info, err := s.Newest(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// segmentsOf lists a pass by number.
func segmentsOf(t *testing.T, run *Run, pass backfill.Pass) map[int]backfill.SegmentState {
	t.Helper()
	list, err := run.List(t.Context(), pass)
	if err != nil {
		t.Fatal(err)
	}
	byNo := map[int]backfill.SegmentState{}
	for _, s := range list {
		byNo[s.No] = s
	}
	return byNo
}

// sleepingTransaction opens a transaction on a connection of its own, runs st in it, and leaves it open.
func sleepingTransaction(t *testing.T, db *pgtest.DB, st pgsql.Statement) *pgx.Conn {
	t.Helper()
	conn := db.Conn()
	if err := send(t.Context(), conn, step{Statement: pgsql.Begin}, step{Statement: st}); err != nil {
		t.Fatal(err)
	}
	return conn
}
