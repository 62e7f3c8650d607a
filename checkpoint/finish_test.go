package checkpoint

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/localpg"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// walked is a run that has been through all its passes, with a split on the way.
func walked(t *testing.T, db *pgtest.DB, job string) *Run {
	t.Helper()
	ctx := t.Context()
	run := create(t, open(t, db, Options{}), withNulls(planned(job, 100, 200)))
	conn := db.Conn()
	appendTo(t, conn, run, chunk(1, 1, -1, 30), chunk(1, 2, 30, 70), chunk(1, 3, 70, 100), chunk(2, 1, 100, 120))
	if ok, err := run.Split(ctx, segmentsOf(t, run, backfill.PassWalk)[2], key(150)); !ok || err != nil {
		t.Fatal(ok, err)
	}
	nulls := backfill.Chunk{Seq: 1, RowsChanged: []int64{1}, Attempt: 1, Worker: "test"}
	nulls.Segment = 3
	appendTo(t, conn, run, nulls, chunk(5, 1, 150, 200), chunk(4, 1, 120, 150))
	advance := func(from, to backfill.Pass, segments ...backfill.Segment) {
		t.Helper()
		if ok, err := run.Advance(ctx, from, to, segments); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	advance(backfill.PassWalk, backfill.PassTail, backfill.Segment{Range: backfill.KeyRange{After: key(200), Through: key(210)}})
	appendTo(t, conn, run, chunk(6, 1, 200, 210))
	advance(backfill.PassTail, backfill.PassSweep, backfill.Segment{Range: backfill.KeyRange{Through: key(110)}},
		backfill.Segment{Range: backfill.KeyRange{After: key(110), Through: key(210)}}, backfill.Segment{Nulls: true})
	nulls.Segment = 9
	appendTo(t, conn, run, chunk(7, 1, -1, 110), chunk(8, 1, 110, 210), nulls)
	return run
}

// Where a partitioned table is walked in physical order, the segments tile each partition from its beginning, the parts of a split are
// in the partition of the whole, and the sweep tiles the table.
//
// Made to fail: with all segments followed as one chain, the second partition "is left over"; with a leaf that a split does not
// hand on, so are its parts; with leaves not told apart, a partition whose first segment is missing is covered by the other's.
func TestFinishOfAWalkOfPartitions(t *testing.T) {
	t.Parallel()
	db := installed(t)
	pages := func(no int, leaf uint32, after, through int) backfill.Segment {
		return backfill.Segment{No: no, Pass: backfill.PassWalk, Leaf: leaf, Range: chunk(no, 1, after, through).Range}
	}
	for job, c := range map[string]struct {
		last backfill.Segment
		gap  string
	}{
		"covered": {last: pages(3, 7002, 4, 9)},
		"left":    {last: pages(3, 7003, 4, 9), gap: "segment 3 of the walk"},
	} {
		plan := planned(job, 10)
		plan.Segments = []backfill.Segment{pages(1, 7001, -1, 10), pages(2, 7002, -1, 4), c.last}
		run := create(t, open(t, db, Options{}), plan)
		appendTo(t, db.Conn(), run, chunk(1, 1, -1, 3), chunk(2, 1, -1, 4), chunk(3, 1, 4, 9))
		if ok, err := run.Split(t.Context(), segmentsOf(t, run, backfill.PassWalk)[1], key(6)); !ok || err != nil {
			t.Fatal(ok, err)
		}
		for _, s := range segmentsOf(t, run, backfill.PassWalk) {
			if s.Parent == 1 && s.Leaf != 7001 {
				t.Errorf("segment %d is a part of segment 1 and in table %d", s.No, s.Leaf)
			}
		}
		appendTo(t, db.Conn(), run, chunk(4, 1, 3, 6), chunk(5, 1, 6, 10))
		switch err := ends(t, run); {
		case c.gap == "" && err != nil:
			t.Error(err)
		case c.gap != "":
			wants(t, err, c.gap, "left over")
		}
	}
}

func TestFinishOfACoveredWalk(t *testing.T) {
	t.Parallel()
	db := installed(t)
	run := walked(t, db, "walked")
	summary := backfill.Summary{Run: run.ID(), Job: "walked", Chunks: 11, RowsSeen: 90}
	// Each of several processes may be the last.
	var wg sync.WaitGroup
	for range 4 {
		other := open(t, db, Options{}).Attach(RunInfo{ID: run.ID(), Job: run.Job(), CreatedAt: run.created})
		wg.Go(func() {
			if done, err := other.Finish(context.Background(), backfill.PassSweep, summary); !done || err != nil {
				t.Error(done, err)
			}
		})
	}
	wg.Wait()
	info := state(t, run.store, "walked")
	summary.State = backfill.StateFinished
	if diff := cmp.Diff(&summary, info.Summary); diff != "" {
		t.Error(diff)
	}
	if info.State != backfill.StateFinished || info.FinishedAt == nil || info.Progress() != 1 {
		t.Errorf("%+v", info)
	}
	if n := pgtest.One[int](db, `SELECT count(*) FROM pgbackfill.events WHERE what = 'finished'`); n != 1 {
		t.Errorf("it was finished %d times", n)
	}
	wants(t, run.Cancel(t.Context()), "it is finished")
}

func TestFinishFindsWhatIsMissing(t *testing.T) {
	t.Parallel()
	db := installed(t)
	for name, tc := range map[string]struct {
		sql  string
		says []string
	}{
		"a row in the middle": {
			`DELETE FROM pgbackfill.chunks WHERE segment = 1 AND seq = 2`,
			[]string{"row 3 of segment 1", "comes right after row 1", "begins after (70)", "after (30)"},
		},
		"the first row":    {`DELETE FROM pgbackfill.chunks WHERE segment = 1 AND seq = 1`, []string{"row 2 of segment 1", "comes right after row 0", "(open)"}},
		"the last row":     {`DELETE FROM pgbackfill.chunks WHERE segment = 1 AND seq = 3`, []string{"segment 1 of the walk", "committed through (70)", "through (100)"}},
		"an altered row":   {`UPDATE pgbackfill.chunks SET after = '{31}' WHERE segment = 1 AND seq = 2`, []string{"row 2 of segment 1", "does not begin where the row before it ended", "(31)", "(30)"}},
		"an altered start": {`UPDATE pgbackfill.chunks SET after = '{0}' WHERE segment = 1 AND seq = 1`, []string{"row 1 of segment 1", "does not begin where its segment begins", "after (open)"}},
		"a row after a fence": {
			`UPDATE pgbackfill.chunks SET fence = 'cancelled' WHERE segment = 1 AND seq = 2`,
			[]string{"row 3 of segment 1", "comes after the fence"},
		},
		"a fence":                {`UPDATE pgbackfill.chunks SET fence = 'cancelled' WHERE segment = 8`, []string{"segment 8 of the sweep", "cancelled"}},
		"an end before the last": {`UPDATE pgbackfill.segments SET through = '{70}' WHERE no = 1`, []string{"row 3 of segment 1", "comes after the end of its segment"}},
		"a child":                {`DELETE FROM pgbackfill.segments WHERE no = 4`, []string{"belongs to a segment that the run does not have"}},
		"a child and its rows":   {`DELETE FROM pgbackfill.segments WHERE no = 4; DELETE FROM pgbackfill.chunks WHERE segment = 4`, []string{"the segment after number 3 is number 5"}},
		"the end of a child": {
			`UPDATE pgbackfill.segments SET through = '{140}' WHERE no = 4; UPDATE pgbackfill.chunks SET through = '{140}' WHERE segment = 4`,
			[]string{"segment 2 of the walk", "its part 5 begins after (150)", "after (140)"},
		},
		"the end of both": {
			`UPDATE pgbackfill.segments SET through = '{190}' WHERE no = 5; UPDATE pgbackfill.chunks SET through = '{190}' WHERE segment = 5`,
			[]string{"its parts end at (190)", "at (200)"},
		},
		"the rows with a NULL":         {`DELETE FROM pgbackfill.chunks WHERE segment = 3`, []string{"segment 3 of the walk (the rows with a NULL in the key)"}},
		"the segment of the NULL rows": {`UPDATE pgbackfill.segments SET nulls = false, after = '{100}', through = '{}' WHERE no = 3; DELETE FROM pgbackfill.chunks WHERE segment = 3`, []string{"0 segments hold the rows with a NULL"}},
		"the tail's start": {
			`UPDATE pgbackfill.segments SET after = '{205}' WHERE no = 6; UPDATE pgbackfill.chunks SET after = '{205}' WHERE segment = 6`,
			[]string{"no segment begins after (200)", "segment 6 of the tail"},
		},
		"the sweep's start": {
			`UPDATE pgbackfill.segments SET after = '{1}' WHERE no = 7; UPDATE pgbackfill.chunks SET after = '{1}' WHERE segment = 7`,
			[]string{"no segment begins after (open)", "segment 7 of the sweep"},
		},
		"everything": {`DELETE FROM pgbackfill.segments WHERE true; DELETE FROM pgbackfill.chunks WHERE true`, []string{"the walk has 0 segments", "the 3 that were planned"}},
	} {
		t.Run(name, func(t *testing.T) {
			job := strings.ReplaceAll(name, " ", "-")
			run := walked(t, db, job)
			db.Exec(strings.ReplaceAll(tc.sql, "WHERE", fmt.Sprintf("WHERE run_id = %d AND", run.ID())))
			wants(t, ends(t, run), tc.says...)
			if info := state(t, run.store, job); info.State == backfill.StateFinished || info.FinishedAt != nil {
				t.Errorf("it is %s nonetheless", info.State)
			}
		})
	}
}

// ⚑ Acknowledged commits can vanish; those of a run that is called finished must not. Made to fail
// by giving Finish the settings of the heartbeat: after the crash there was no run at all.
func TestFinishWaitsForAsynchronousCommits(t *testing.T) {
	t.Parallel()
	// Nothing reaches the disk by itself in the time of the test.
	server := pgtest.Cluster(t, localpg.Options{Settings: map[string]string{"wal_writer_delay": "10s", "synchronous_commit": "off"}})
	db := pgtest.NewOn(t, server)
	if err := Install(t.Context(), db.Conn(), InstallOptions{}); err != nil {
		t.Fatal(err)
	}
	run := create(t, open(t, db, Options{}), planned("async", 40))
	conn := db.Conn()
	appendTo(t, conn, run, chunk(1, 1, -1, 10), chunk(1, 2, 10, 20), chunk(1, 3, 20, 30), chunk(1, 4, 30, 40))
	if err := ends(t, run); err != nil {
		t.Fatal(err)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	info := state(t, open(t, db, Options{}), "async")
	if info.State != backfill.StateFinished || info.Totals.Chunks != 4 || info.Progress() != 1 {
		t.Errorf("after the crash: %+v", info)
	}
}

func TestFinishOfAnEmptyTable(t *testing.T) {
	t.Parallel()
	run := create(t, open(t, installed(t), Options{}), planned("empty"))
	for _, pass := range []backfill.Pass{backfill.PassWalk, backfill.PassTail} {
		if ok, err := run.Advance(t.Context(), pass, pass+1, nil); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if err := ends(t, run); err != nil {
		t.Error(err)
	}
}

// A failover takes an acknowledged Advance back: the walk that is left is covered, and the tail is still to be done.
//
// Made to fail: without the look at the pass, the run is finished without its tail.
func TestFinishOfAnotherPass(t *testing.T) {
	t.Parallel()
	db := installed(t)
	run := create(t, open(t, db, Options{}), planned("early", 40))
	appendTo(t, db.Conn(), run, chunk(1, 1, -1, 40))
	if done, err := run.Finish(t.Context(), backfill.PassTail, backfill.Summary{}); done || err != nil {
		t.Errorf("in the walk, whoever believes it to be in the tail is told %t, %v", done, err)
	}
	if info := state(t, run.store, "early"); info.State == backfill.StateFinished || info.FinishedAt != nil {
		t.Errorf("it is %s", info.State)
	}
	if done, err := run.Finish(t.Context(), backfill.PassWalk, backfill.Summary{}); !done || err != nil {
		t.Errorf("in its pass: %t, %v", done, err)
	}
	if done, err := run.Finish(t.Context(), backfill.PassTail, backfill.Summary{}); !done || err != nil {
		t.Errorf("once it is finished: %t, %v", done, err)
	}
}
