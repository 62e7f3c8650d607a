package backfill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// worker changes chunks, one at a time, over a connection of its own.
type worker struct {
	*engine
	id   int
	conn *pgx.Conn
	// began is set from the first segment on: what the segments of the pass were when it was planned, a
	// failover may have taken back since.
	began bool
	// running ends when the work is to stop: what is computed outside of the database then ends at once. Nil is never.
	running context.Context
	// leaf is where the rows of the segment at hand are, where they are in one of several tables.
	leaf leafTable
	// lost is when the connection was lost; zero while there is one.
	lost time.Time
	// computer is the worker as one that computes; nil is not yet.
	computer *computer
	// computing ends what is computed while rows are locked; nil is nothing.
	computing atomic.Pointer[context.CancelCauseFunc]
	// ahead are the rows of the chunk after the one at hand, on their way through the transform; nil is none.
	ahead *ahead
	// leaves is set where the last chunk of a transform left rows alone that held their values already.
	leaves bool
}

// boundary is where the next chunk ends, found ahead in the round trip that commits the
// one before.
type boundary struct {
	// size is how many rows were asked for.
	size    int
	through Key
	// last is set where the segment holds no further row: the chunk ends where the segment does.
	last bool
}

// fits reports whether a chunk may end there that is to have so many rows. What was found ahead was of another moment: where less is borne now,
// since a lock was not had, somebody waited or a replica is behind, it is found anew. A tenth is no difference that would be worth the question.
func (b *boundary) fits(rows int) bool { return b.size <= rows+rows/10 }

// segment works a segment from its watermark to its end, or until the work is to stop,
// and returns how far it is. Whoever works the segment, and however often it was begun,
// this is the one path; what it does next is the [position]'s to say.
func (w *worker) segment(ctx context.Context, seg Segment) (Mark, error) {
	at, try := &position{seg: seg, doubtful: !w.began}, newAttempts(seg)
	w.began, w.running = true, ctx
	defer w.leaveAhead()
	turn := time.Now() // since when the worker has waited to begin a chunk
	for {
		paused, err := w.mayWorkAfter(ctx, w.id)
		if err != nil {
			return at.mark, err
		}
		w.outdated(paused, turn)
		if err := w.know(ctx, at); err != nil {
			if err = w.passing(ctx, try, err); err != nil {
				return at.mark, err
			}
			continue
		}
		if at.mark.Closed() {
			return at.mark, nil
		}
		if let, err := w.ration(ctx, w.paced(seg, try)); err != nil {
			return at.mark, err
		} else if !let {
			continue
		}
		w.outdated(false, turn)
		if n := w.chunks.Add(1); w.maxChunks > 0 && n > w.maxChunks {
			w.chunks.Add(-1)
			return at.mark, errEnough
		}
		chunk, following, err := w.attempt(at, try)
		turn = time.Now()
		if err != nil {
			w.chunks.Add(-1)
			if ctx.Err() != nil && errors.Is(err, ctx.Err()) { // nothing had begun
				return at.mark, err
			}
			of := w.became(ctx, seg, err)
			at.came(of, chunk)
			if of == wasRefused || of == wasMoved {
				continue
			}
			if err := w.trouble(ctx, chunk, try, err); err != nil {
				return at.mark, err
			}
			continue
		}
		at.came(wasCommitted, chunk)
		at.next = following
		try.succeeded(chunk)
		w.counted(ctx, at, chunk)
		w.repay(chunk.repaid)
		w.committed(w.id, chunk, seg, at.mark)
	}
}

// became is what came of a chunk that ended with an error.
func (w *worker) became(ctx context.Context, seg Segment, err error) outcome {
	switch {
	case errors.Is(err, errRefused):
		return wasRefused
	case w.leafMoved(ctx, seg, err):
		return wasMoved
	case w.conn == nil || w.conn.IsClosed():
		return wasUnheard
	}
	return wasRolledBack
}

// trouble decides what follows a chunk that failed: nil is another try, after a wait.
func (w *worker) trouble(ctx context.Context, chunk Chunk, try *attempts, err error) error {
	var large *tooLargeError
	if errors.As(err, &large) {
		try.shorter(chunk, large.fit)
		return nil
	}
	var yielded *yieldedError
	if errors.As(err, &yielded) && !w.aborted() {
		return w.gaveWay(ctx, chunk, try, yielded.to)
	}
	return w.failed(ctx, chunk, try, err)
}

// attempt does the next chunk of a segment, or sets its rows aside where it is known that they cannot be changed.
func (w *worker) attempt(at *position, try *attempts) (Chunk, *boundary, error) {
	if aside := try.takeAside(at.mark); aside != nil {
		chunk, following, err := w.setAside(at.seg, *aside, try)
		if errors.As(err, new(*yieldedError)) {
			try.asideAgain(aside)
		}
		return chunk, following, err
	}
	return w.chunk(at, try)
}

// know does what a position wants before a chunk: a connection, and that the mark is what the ledger says.
func (w *worker) know(ctx context.Context, at *position) error {
	for {
		switch at.wants(w.conn != nil && !w.conn.IsClosed()) {
		case toConnect:
			if err := w.reconnect(ctx); err != nil {
				return err
			}
		case toLook:
			there, err := w.stillPlanned(ctx, at.seg)
			if err != nil {
				return err
			}
			at.looked(there)
		case toRead:
			mark, err := w.ledger.Mark(ctx, w.conn, at.seg.No)
			if errors.Is(err, ErrNotFound) {
				at.unread()
				continue
			}
			if err == nil {
				err = w.findLeaf(ctx, at.seg)
			}
			if err != nil {
				return err
			}
			at.read(mark)
		case toYield:
			return errContested
		case toGiveUp:
			return w.stuck(at.seg, at.mark)
		case toChange, toLeave:
			return nil
		}
	}
}

// rows is how many rows the next chunk should have.
func (w *worker) rows(try *attempts) int {
	size := w.sizer().next()
	if most := try.most(); most > 0 {
		size = min(size, most)
	}
	return w.heldTo(w.transforms.fitting(size))
}

// paced is how many rows the next chunk counts for under the rate: that is about what is
// written, of which a sweep has next to nothing.
func (w *worker) paced(seg Segment, try *attempts) int {
	if seg.Pass.Sweeps() {
		return 1
	}
	return w.rows(try)
}

// chunk changes the next chunk of a segment in one transaction and commits it with its
// ledger row, in two round trips: the change, whose counts the ledger row needs; then the
// ledger row, the commit and, in a transaction of its own, the next boundary. A begun chunk
// finishes when the run is asked to stop, unless it takes longer than the grace.
func (w *worker) chunk(at *position, try *attempts) (Chunk, *boundary, error) {
	ctx, cancel := w.grace()
	defer func() { cancel() }()
	seg, next, chunk := at.seg, at.next, at.chunk()
	chunk.Started, chunk.Attempt, chunk.Worker = time.Now(), try.number, w.name()
	if chunk.size = w.rows(try); next == nil || !next.fits(chunk.size) {
		var err error
		if next, err = w.boundary(ctx, seg, chunk.Range.After, chunk.size); err != nil {
			return chunk, nil, err
		}
		chunk.Started = time.Now()
	}
	chunk.Range.Through, chunk.last, chunk.size = next.through, next.last, next.size
	if !chunk.last && slices.Equal(chunk.Range.Through, chunk.Range.After) {
		return chunk, nil, errStandstill
	}

	if !chunk.last {
		chunk.ahead = w.rows(try)
	}

	leave := w.yielded(applicationName(w.sql.job, seg.No))
	err := w.change(ctx, seg, &chunk)
	if w.transforms != nil { // that may have taken any time
		cancel()
		ctx, cancel = w.grace()
	}
	if err != nil {
		rollback(ctx, w.conn.PgConn())
		return chunk, nil, leave(err)
	}
	chunk.Duration = time.Since(chunk.Started)
	w.took(chunk) // before the next one's end is looked for
	w.observe(ChunkChanged{Worker: w.id, Chunk: chunk})
	following, err := w.commit(ctx, seg, &chunk, w.rows(try))
	if err != nil {
		rollback(ctx, w.conn.PgConn())
	}
	return chunk, following, leave(err)
}

// boundary finds where the next chunk ends.
func (w *worker) boundary(ctx context.Context, seg Segment, after Key, size int) (*boundary, error) {
	if seg.Nulls || seg.Pass.Sweeps() && size >= sweepRows {
		return &boundary{size: size, through: seg.Range.Through, last: true}, nil
	}
	if h := w.plan.Heap; h != nil {
		return h.boundary(after, seg, size, func() bool { return w.opens(ctx) }), nil
	}
	statements := append(w.seek(seg, after, size), pgsql.Commit)
	answers, err := exchange(ctx, w.conn.PgConn(), statements...)
	if err != nil {
		rollback(ctx, w.conn.PgConn())
		return nil, err
	}
	return foundEnd(answers[len(answers)-2], seg, size), nil
}

// middle finds a place so many rows on at which a segment can be divided.
func (w *worker) middle(ctx context.Context, seg Segment, after Key, rows int) (*boundary, error) {
	if h := w.plan.Heap; h != nil && !(seg.Pass.Sweeps() && rows >= sweepRows) {
		return h.middle(after, seg, rows), nil
	}
	return w.boundary(ctx, seg, after, rows)
}

// seek are the statements that find a boundary, in a transaction that the caller commits.
func (w *worker) seek(seg Segment, after Key, size int) []pgsql.Statement {
	return []pgsql.Statement{
		pgsql.Begin,
		w.sql.keySettings(seg, w.pace()),
		w.sql.walk.Boundary(pgsql.Range{After: after, Through: seg.Range.Through}, size),
	}
}

func foundEnd(a answer, seg Segment, size int) *boundary {
	if len(a.rows) == 0 {
		return &boundary{size: size, through: seg.Range.Through, last: true}
	}
	through := Key(a.rows[0])
	return &boundary{size: size, through: through, last: slices.Equal(through, seg.Range.Through)}
}

// commit records the chunk in the ledger, commits, and finds the next boundary, size rows on. It returns
// an error only where the chunk is not known to be committed.
func (w *worker) commit(ctx context.Context, seg Segment, chunk *Chunk, size int) (*boundary, error) {
	chunk.Lag = w.lag()
	statements := ending(pgsql.Begin, w.ledger.Append(*chunk), pgsql.Commit)
	end := len(statements)
	following := w.endOfAhead(seg, *chunk)
	sought := !chunk.last && w.plan.Heap == nil && following == nil
	if sought {
		statements = append(statements, append(w.seek(seg, chunk.Range.Through, size), pgsql.Commit)...)
	}
	began := time.Now()
	conn := w.conn.PgConn()
	answers, err := exchange(ctx, conn, statements...)
	tag := ""
	if len(answers) >= end {
		tag = answers[end-1].tag.String()
	}
	switch heard(min(len(answers), end), end, tag, w.ledger.Refused(err), conn.IsClosed()) {
	case wasCommitted:
	case wasRefused:
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	default:
		if tag != "" {
			return nil, fmt.Errorf("%w (it said %q)", errNotCommitted, tag)
		}
		return nil, err
	}
	w.wrote(*chunk, number(answers[end-2].rows[0][0]), time.Since(began))
	if err != nil || !sought {
		rollback(ctx, conn)
		return following, nil //nolint:nilerr // the chunk is committed; a boundary that failed is looked for again
	}
	return foundEnd(answers[end+2], seg, size), nil
}

func (w *worker) name() string { return fmt.Sprintf("%s/%d", w.process, w.id) }
