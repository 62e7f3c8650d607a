package backfill

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

const (
	// heapRounds is how many sweeps a process plans for a heap walk. Rows that move while they are swept need another
	// one; a trigger, or a wrong dual write, that undoes what a sweep does would need them for ever.
	heapRounds = 5
	// lookRows is how many rows one statement looks at that only reads, before it is known to take too long.
	lookRows = 1_000_000
	// keepEvery is how often the connection that keeps a snapshot says that it is there, well within the time after
	// which the server ends a transaction whose client is silent.
	keepEvery = time.Second
)

// HeapWalk is what a walk in physical order knows of the table's pages, as it was planned.
type HeapWalk struct {
	// Blocks is how many pages the table had: the walk's end.
	Blocks int64 `json:"blocks"`
	// RowsPerBlock is about how many rows a page holds, at least one.
	RowsPerBlock float64 `json:"rows_per_block"`
	// Filenode names the file that the pages are in. Another one means that the table was rewritten, and its rows
	// have moved without being written.
	Filenode uint32 `json:"filenode"`
	// Leaves are the tables of a partitioned one, which are walked one by one; Blocks is then the most that one of them has, RowsPerBlock
	// what one page of each holds together, and Filenode 0.
	Leaves []Leaf `json:"leaves,omitempty"`
	// Horizon is the oldest transaction that was open before the pages were counted: what older ones wrote lies in
	// the pages of the walk.
	Horizon string `json:"horizon"`
}

// tidColumn is the place of a row, as a key of one column: pages are ranges of it, from (n,0), which no row has.
// PostgreSQL reads such a range of pages and no others, in their order.
var tidColumn = pgsql.KeyColumn{
	Name: "ctid", Type: "pg_catalog.tid",
	Less: "pg_catalog.<", LessEqual: "pg_catalog.<=", Equal: "pg_catalog.=", GreaterEqual: "pg_catalog.>=", Greater: "pg_catalog.>",
}

// blockKey is the end of the pages before a block.
func blockKey(block int64) Key { return Key{fmt.Sprintf("(%d,0)", block)} }

// blockOf is the block that a key of [blockKey] names; an open end is 0.
func blockOf(k Key) int64 {
	if len(k) == 0 {
		return 0
	}
	number, _, _ := strings.Cut(strings.TrimPrefix(k[0], "("), ",")
	n, _ := strconv.ParseInt(number, 10, 64) // we wrote it
	return n
}

// Next is where so many rows after a place end, or end itself with true where that is no further; a nil end is that of
// the table.
func (h HeapWalk) Next(after, end Key, rows int) (through Key, last bool) {
	block, most := blockOf(after)+h.blocksFor(rows), h.Blocks
	if end != nil {
		most = blockOf(end)
	}
	if block >= most {
		return end, true
	}
	return blockKey(block), false
}

// blocksFor is how many pages hold so many rows: at least one, and no fewer rows than that, for a chunk with less than was
// asked for says nothing about how long so many rows take.
func (h HeapWalk) blocksFor(rows int) int64 {
	return max(1, int64(math.Ceil(float64(rows)/max(h.RowsPerBlock, 1))))
}

// rowsIn is about how many rows the pages of a range hold.
func (h HeapWalk) rowsIn(r KeyRange) int64 {
	return int64(math.Round(float64(blockOf(r.Through)-blockOf(r.After)) * h.RowsPerBlock))
}

// boundary is where a chunk of about so many rows ends: known without a question to the server.
func (h HeapWalk) boundary(after Key, seg Segment, rows int) *boundary {
	h = h.of(seg)
	through, end := blockOf(after)+h.blocksFor(rows), blockOf(seg.Range.Through)
	if through >= end {
		return &boundary{size: rows, through: seg.Range.Through, last: true}
	}
	return &boundary{size: rows, through: blockKey(through)}
}

// segments cuts pages into n segments of the same size, numbered from first.
func (h HeapWalk) segments(pass Pass, blocks int64, n, first int) []Segment {
	n = int(max(1, min(int64(n), blocks)))
	var list []Segment
	var after Key
	for i := range n {
		through := blockKey(blocks * int64(i+1) / int64(n))
		s := Segment{No: first + i, Pass: pass, Range: KeyRange{After: after, Through: through}}
		s.EstimatedRows = max(1, h.rowsIn(s.Range))
		list, after = append(list, s), through
	}
	return list
}

// afterHeap plans what follows a pass of a heap walk. Rows that others write move, behind the walk too, into old pages
// as well as new, and an UPDATE that had to wait for their writer passes by what has moved out of its range. So when
// the transactions that wrote to the table are gone, one snapshot of all of it says whether a row was missed; where one
// was, everything is swept, and looked at again.
func (e *engine) afterHeap(ctx context.Context, pass Pass) (Pass, []Segment, error) {
	if err := e.mayWork(ctx, 0); err != nil {
		return pass, nil, err
	}
	e.closing.Store(true)
	if err := e.setState(ctx, StateFinishing, ""); err != nil {
		return pass, nil, err
	}
	pages, err := e.patientLook(ctx)
	if err != nil || !pages.missed {
		return pass, nil, err
	}
	next := max(pass+1, PassSweep)
	if e.rounds++; e.rounds > heapRounds {
		return pass, nil, &Error{
			Place: e.place(), Found: fmt.Sprintf("after %d sweeps there are still rows that do not hold their new values", heapRounds),
			Expected: "that a row which was changed stays so",
			Remedy:   "something undoes what the job does: a trigger on the table, or an application that writes the old values; mend it, then run the job again",
			Kind:     ErrIncomplete,
		}
	}
	number := 0
	for p := PassWalk; p <= pass; p++ {
		list, err := e.segments.List(ctx, p)
		if err != nil {
			return pass, nil, err
		}
		for _, s := range list {
			number = max(number, s.No)
		}
	}
	parts := max(2*e.pace().Workers, int(float64(pages.blocks)*e.plan.Heap.RowsPerBlock/sweepRows))
	return next, e.plan.Heap.segments(next, pages.blocks, parts, number+1), nil
}

// patientLook looks when the transactions that wrote to the table are gone, and again where it could not be looked to the
// end: in smaller parts where they took too long.
func (e *engine) patientLook(ctx context.Context) (found looked, err error) {
	rows := lookRows
	err = e.ask(ctx, func(w *worker) error {
		if err := e.mayWork(ctx, 0); err != nil {
			return err
		}
		err := w.outwait(ctx)
		if err == nil {
			found, err = w.look(ctx, rows)
		}
		if pgerr.Class(err) == pgerr.Shrink {
			rows = max(1, rows/4)
		}
		return err
	})
	return found, err
}

// looked is what one snapshot of the table says.
type looked struct {
	missed bool
	blocks int64
}

// look asks whether any row does not hold its new values: all of the table in one snapshot, which no row can dodge by
// moving, read by all workers at once, so many rows a statement.
func (w *worker) look(ctx context.Context, rows int) (looked, error) {
	defer w.observe(Waiting{})
	w.observe(Waiting{Reason: "looking whether a row was missed that moved while it was walked"})
	// The table's lock comes before the snapshot: to one that is older than a rewrite by ALTER TABLE the table is empty.
	answers, err := exchange(ctx, w.conn.PgConn(), pgsql.Begin, w.sql.jobSettings(Segment{Pass: PassSweep}, w.pace()), w.sql.walk.Keep(),
		pgsql.ExportSnapshot, w.pages(), w.sql.walk.Walkers(int64(w.run), pgsql.Range{}))
	if err != nil {
		return looked{}, err
	}
	defer rollback(context.WithoutCancel(ctx), w.conn.PgConn())
	snapshot := answers[3].rows[0][0]
	var found looked
	found.blocks, _ = w.pagesIn(answers[4])
	part := pgsql.Part{Reading: true}
	w.written(&part, answers[5], answers[4])
	g, looking := errgroup.WithContext(ctx)
	ranges := make(chan KeyRange)
	g.Go(func() error {
		defer close(ranges)
		step := w.plan.Heap.blocksFor(rows)
		for at := int64(0); at < found.blocks; at += step {
			r := KeyRange{Through: blockKey(min(at+step, found.blocks))}
			if at > 0 {
				r.After = blockKey(at)
			}
			select {
			case ranges <- r:
			case <-looking.Done():
				return nil
			}
		}
		return nil
	})
	for range w.pace().Workers {
		g.Go(func() error { return w.lookAt(looking, snapshot, part, ranges) })
	}
	all := make(chan error, 1)
	go func() { all <- g.Wait() }()
	if err := w.keep(ctx, all); errors.Is(err, errMissed) {
		found.missed = true
	} else if err != nil {
		return found, err
	}
	return found, ctx.Err()
}

// keep keeps the snapshot and the table's lock until those are done who look, and returns their error. Where it cannot, what
// they saw need not be the whole table.
func (w *worker) keep(ctx context.Context, looking <-chan error) error {
	ticker := time.NewTicker(keepEvery)
	defer ticker.Stop()
	var lost error
	for {
		select {
		case err := <-looking:
			if err == nil && lost == nil {
				_, lost = exchange(ctx, w.conn.PgConn(), pgsql.StillKept)
			}
			if err == nil {
				err = lost
			}
			return err
		case <-ticker.C:
			if lost == nil {
				_, lost = exchange(ctx, w.conn.PgConn(), pgsql.StillKept)
			}
		}
	}
}

var (
	// errMissed says that a row was found, and that nobody need look further.
	errMissed = errors.New("a row was missed")
	// errLookAgain says that it could not be looked to the end, for a reason that passes.
	errLookAgain = errors.New("the look at the table must begin again")
)

// lookAt looks at ranges of pages as they were in a snapshot, over a connection of its own.
func (e *engine) lookAt(ctx context.Context, snapshot string, part pgsql.Part, ranges <-chan KeyRange) error {
	w := &worker{engine: e, conn: e.spareConn()}
	defer w.leave(context.WithoutCancel(ctx))
	if w.conn == nil || w.conn.IsClosed() {
		if err := w.reconnect(ctx); err != nil {
			return err
		}
	}
	defer rollback(context.WithoutCancel(ctx), w.conn.PgConn())
	answers, err := exchange(ctx, w.conn.PgConn(), pgsql.BeginSnapshot, pgsql.SetSnapshot(snapshot), w.sql.jobSettings(Segment{Pass: PassSweep}, w.pace()))
	if err != nil {
		if code := pgerr.Code(err); len(answers) == 1 && (code == "22023" || code == "55000") { // who kept it is gone, or on another server
			return fmt.Errorf("%w: %s", errLookAgain, pgerr.Describe(err))
		}
		return err
	}
	for r := range ranges {
		if e.ordersNow().Desired != DesiredRunning { // whoever waits with a snapshot keeps the whole database from being cleaned
			return fmt.Errorf("%w: the run was stopped", errLookAgain)
		}
		part.Range = pgsql.Range{After: r.After, Through: r.Through}
		for _, step := range w.sql.steps {
			missed, err := step.(pgsql.Checkable).Missed(part)
			if err != nil {
				return err
			}
			answers, err := exchange(ctx, w.conn.PgConn(), missed)
			if err != nil {
				return err
			}
			if answers[0].rows[0][0] == "t" {
				return errMissed
			}
		}
	}
	return nil
}

// planLook adds the statements of [worker.look].
func (s statements) planLook(open, closed pgsql.Range, p *Plan, add func(string, ...pgsql.Statement)) error {
	add("when the walk is done and after each sweep: one snapshot for all workers", s.walk.Keep(), pgsql.ExportSnapshot, pgsql.StillKept, pgsql.BeginSnapshot, pgsql.SetSnapshot("…"))
	for _, r := range []pgsql.Range{open, closed} {
		for _, step := range s.steps {
			for _, part := range []pgsql.Part{{Range: r, Sweep: 1, Reading: true}, {Range: r, Reading: true}} {
				missed, err := step.(pgsql.Checkable).Missed(part)
				if err != nil {
					return err
				}
				when := "looks whether a row was missed"
				if part.Sweep == 0 {
					when += ", where the table was rewritten meanwhile"
				}
				add(when, missed)
			}
		}
	}
	return nil
}
