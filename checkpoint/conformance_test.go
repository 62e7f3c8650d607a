package checkpoint

import (
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/ledger"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// What the ledger takes is said twice, in SQL for PostgreSQL and in Go for the simulation of the protocol, condition by condition. On a
// random segment with a random last row, both take or refuse the same random row. It is some hundred cases, and more for longer with
// PGBACKFILL_TEST_LONG; -rapid.seed repeats one.
//
// Made to fail: with each of the conditions left out of the SQL, or of the Go, in turn.
func TestLedgerTakesWhatTheRuleSays(t *testing.T) {
	t.Parallel()
	db := installed(t)
	run := create(t, open(t, db, Options{}), planned("conforms", 100))
	conn := db.Conn()
	db.Exec(`CREATE TABLE public.users (); DELETE FROM pgbackfill.segments`)
	table := pgtest.One[uint32](db, `SELECT 'public.users'::regclass::oid`)
	taken, refused := 0, 0
	until := time.Now()
	if os.Getenv("PGBACKFILL_TEST_LONG") != "" {
		until = until.Add(30 * time.Second)
	}
	for again := true; again; again = time.Now().Before(until) {
		rapid.Check(t, func(rt *rapid.T) {
			c := drawCase(rt, run.created, table)
			want := ledger.Takes(c.row, c.at)
			got := c.tried(rt, conn, run)
			if got != want {
				rt.Errorf("row %+v\nwhere is %+v, segment %+v, before %+v\ntaken by the server: %t; by the rule: %t", c.row, c.at, c.at.Segment, c.at.Before, got, want)
			}
			if want {
				taken++
			} else {
				refused++
			}
		})
	}
	if taken < 10 || refused < 10 {
		t.Errorf("%d rows were taken and %d refused: the cases show too little", taken, refused)
	}
}

// conforming is a row and what is there when it is added.
type conforming struct {
	row ledger.Row
	at  ledger.Standing
	// table is the OID that the run is planned for.
	table uint32
}

// drawCase draws a segment, the last row in it, and a row to be added that mostly is nearly right.
func drawCase(rt *rapid.T, created time.Time, table uint32) conforming {
	keys := rapid.SampledFrom([]backfill.Key{nil, {""}, {"1"}, {"2"}, {"NULL"}, {"1", "2"}, {`a"b\,{}`}})
	end := keys.Filter(func(k backfill.Key) bool { return k != nil })
	rarely := func(label string) bool { return rapid.IntRange(0, 14).Draw(rt, label) == 7 }
	seg := backfill.Segment{No: 1, Pass: rapid.SampledFrom([]backfill.Pass{1, 2, 3}).Draw(rt, "pass"), Leaf: rapid.SampledFrom([]uint32{0, 7}).Draw(rt, "leaf")}
	if seg.Nulls = rarely("nulls"); !seg.Nulls {
		seg.Range = backfill.KeyRange{After: keys.Draw(rt, "after"), Through: end.Draw(rt, "through")}
	}
	c := conforming{table: table, at: ledger.Standing{Created: created, SameTable: true, Segment: &seg}}
	c.row = ledger.Row{Created: created, Segment: seg, Seq: 1, Range: backfill.KeyRange{After: seg.Range.After, Through: keys.Draw(rt, "to")}}
	if rapid.Bool().Draw(rt, "has a row") {
		c.at.Before = &backfill.KeyRange{After: seg.Range.After, Through: keys.Draw(rt, "ended")}
		if c.row.Seq, c.row.Range.After = 2, c.at.Before.Through; rarely("fenced") {
			c.at.Fence = fenceSplit
		}
	}
	if rarely("taken") {
		c.at.Taken = true
	}
	if rarely("no segment") {
		c.at.Segment = nil
	}
	if rarely("another table") {
		c.at.SameTable, c.table = false, 1
	}
	switch rapid.IntRange(0, 9).Draw(rt, "wrong") { // what the worker has wrong
	case 0:
		c.row.Created = created.Add(time.Microsecond)
	case 1:
		c.row.Segment.Range.Through = keys.Draw(rt, "believed end")
	case 2:
		c.row.Segment.Pass = rapid.SampledFrom([]backfill.Pass{1, 2, 3}).Draw(rt, "believed pass")
	case 3:
		c.row.Segment.Leaf = rapid.SampledFrom([]uint32{0, 7, 8}).Draw(rt, "believed leaf")
	case 4:
		c.row.Range.After = keys.Draw(rt, "believed start")
	case 5:
		c.row.Seq, c.at.Before, c.at.Fence = rapid.SampledFrom([]int{0, 3}).Draw(rt, "believed number"), nil, ""
	}
	return c
}

// tried adds the row to what is there, in a transaction that is rolled back, and reports whether the server takes it.
func (c conforming) tried(rt *rapid.T, conn *pgx.Conn, run *Run) bool {
	steps := []step{
		{Statement: pgsql.Begin},
		{Statement: pgsql.Statement{SQL: `UPDATE pgbackfill.runs SET table_oid = $2::oid, table_name = 'public.users' WHERE id = $1::bigint`, Args: [][]byte{pgsql.Int(run.id), pgsql.Int(int64(c.table))}}},
	}
	if s := c.at.Segment; s != nil {
		steps = append(steps, step{Statement: run.newSegment(*s, s.Pass)})
	}
	add := func(seq int, fence string, r backfill.KeyRange) {
		var why []byte
		if fence != "" {
			why = pgsql.Text(fence)
		}
		steps = append(steps, step{Statement: pgsql.Statement{
			SQL: `INSERT INTO pgbackfill.chunks
			(run_id, segment, seq, fence, after, through, follows, rows_seen, rows_changed, unmatched, multiple, total_seen, total_changed, total_unmatched,
			 total_multiple, total_duration, started_at, duration, attempt, worker)
			VALUES ($1::bigint, 1, $2::int, $3::text, $4::text[], $5::text[], true, 0, '{}', 0, 0, 0, 0, 0, 0, '0', now(), '0', 1, '')`,
			Args: [][]byte{pgsql.Int(run.id), pgsql.Int(seq), why, keyParam(r.After), keyParam(r.Through)},
		}})
	}
	if c.at.Before != nil {
		add(c.row.Seq-1, c.at.Fence, *c.at.Before)
	}
	if c.at.Taken {
		add(c.row.Seq, "", c.row.Range)
	}
	another := *run
	another.created = c.row.Created
	chunk := believing(backfill.Chunk{Segment: 1, Seq: c.row.Seq, Range: c.row.Range, Started: time.Now(), Attempt: 1}, c.row.Segment)
	err := send(rt.Context(), conn, append(steps, step{Statement: another.Append(chunk)})...)
	if err != nil && !run.Refused(err) {
		rt.Fatal(err)
	}
	if err := send(rt.Context(), conn, step{Statement: pgsql.Rollback}); err != nil {
		rt.Fatal(err)
	}
	return err == nil
}
