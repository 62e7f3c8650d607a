package backfill

import (
	"context"
	"slices"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// ahead is a chunk on its way through the transform before the one before it is done. While the rows of a chunk are computed, which
// needs no connection, those of the next one are read; while they are written, which needs no program, those of the next one are computed. So
// a worker reads, computes and writes at the same time, and a chunk takes as long as the slower one of its server and its program.
//
// What is written is the same, and in the same order: a chunk is written when all before it in its segment are committed, and only over the
// versions of rows that were read. What has changed since, by the chunk before it for one, is read and computed again. So nothing is lost,
// however long ago it was read; and what failed is no word about the rows of now: it is done again in its turn.
type ahead struct {
	segment int
	after   Key
	// end is where the chunk ends, and next where the one after it does; nil is not known.
	end  boundary
	next *boundary
	// batch are its rows; what came back is in it, and err set, when done is closed.
	batch *batch
	err   error
	done  chan struct{}
	// stop ends what computes it.
	stop context.CancelFunc
}

// is reports whether it is a chunk, whole.
func (a *ahead) is(seg Segment, c Chunk) bool {
	return a.segment == seg.No && !c.alone && slices.Equal(a.after, c.Range.After) && slices.Equal(a.end.through, c.Range.Through)
}

// follows reports whether it is the chunk after another one.
func (a *ahead) follows(seg Segment, c Chunk) bool {
	return a.segment == seg.No && !c.alone && !c.last && slices.Equal(a.after, c.Range.Through)
}

// computed are a chunk's rows with what came back for them. Meanwhile the rows of the next chunk are read, and are being computed when it
// returns.
func (w *worker) computed(running context.Context, seg Segment, chunk *Chunk, part pgsql.Part) (*batch, error) {
	at := w.takeAhead(seg, *chunk)
	early := at != nil
	if !early {
		var err error
		if at, err = w.startOn(running, seg, chunk, part); err != nil {
			return nil, err
		}
	}
	var following *ahead
	if at.next != nil && w.ahead == nil {
		// Where it cannot be read now, it will be tried when it is its turn, and that says why.
		next := Chunk{Segment: seg.No, Range: KeyRange{After: chunk.Range.Through, Through: at.next.through}, size: at.next.size, last: at.next.last, ahead: chunk.ahead}
		following, _ = w.readToCompute(seg, &next, pgsql.Part{Range: next.keys(seg)})
	}
	<-at.done
	at.stop()
	if at.err != nil && early && running.Err() == nil && !w.aborted() {
		// What it failed by was of another time: a row may have been mended since, or what the program depends on.
		var err error
		if at, err = w.startOn(running, seg, chunk, part); err != nil {
			return nil, err
		}
		<-at.done
		at.stop()
	}
	if at.err != nil {
		return nil, at.err
	}
	if following != nil {
		w.start(running, following, following.end.size > 1)
		w.ahead = following
	}
	return at.batch, nil
}

// startOn reads a chunk's rows and has them computed.
func (w *worker) startOn(running context.Context, seg Segment, chunk *Chunk, part pgsql.Part) (*ahead, error) {
	at, err := w.readToCompute(seg, chunk, part)
	if err == nil {
		w.start(running, at, chunk.divisible(seg))
	}
	return at, err
}

// readToCompute reads a chunk's rows and, where the next one's may be read ahead, finds where that one ends.
func (w *worker) readToCompute(seg Segment, chunk *Chunk, part pgsql.Part) (*ahead, error) {
	var seek []pgsql.Statement
	if chunk.ahead > 0 && !chunk.last && !w.transforms.plan.Others {
		seek = append(w.seek(seg, chunk.Range.Through, chunk.ahead), pgsql.Commit)
	}
	b, found, err := w.readRows(seg, part, chunk.divisible(seg), seek)
	if err != nil {
		rollback(context.WithoutCancel(w.abort), w.conn.PgConn())
		return nil, err
	}
	a := &ahead{segment: seg.No, after: chunk.Range.After, end: boundary{size: chunk.size, through: chunk.Range.Through, last: chunk.last}, batch: b}
	if found != nil {
		a.next = foundEnd(*found, seg, chunk.ahead)
	}
	return a, nil
}

// start has a chunk's rows computed. There is one program a worker: whoever calls knows that it is at nothing else.
func (w *worker) start(running context.Context, a *ahead, divisible bool) {
	c := w.computes()
	ctx, stop := context.WithCancel(running)
	a.done, a.stop = make(chan struct{}), stop
	go func() {
		defer close(a.done)
		a.err = c.compute(ctx, a.batch, a.batch.missing(), divisible)
	}()
}

// takeAhead is a chunk that is on its way already; nil is that it is not. Then the program is at nothing when it returns: what is ahead of the chunk
// is waited for, since a program that is stopped must be started again, and kept where it comes next.
func (w *worker) takeAhead(seg Segment, chunk Chunk) *ahead {
	a := w.ahead
	switch {
	case a == nil:
		return nil
	case a.is(seg, chunk):
		w.ahead = nil
		return a
	}
	if w.awaitAhead(); a.err != nil || !a.follows(seg, chunk) {
		w.leaveAhead()
	}
	return nil
}

// awaitAhead returns when nothing is being computed ahead.
func (w *worker) awaitAhead() {
	if w.ahead != nil {
		<-w.ahead.done
	}
}

// leaveAhead forgets what is ahead.
func (w *worker) leaveAhead() {
	if w.ahead != nil {
		w.ahead.stop()
		<-w.ahead.done
		w.ahead = nil
	}
}

// aheadKept is how long a worker may have to wait for its turn and use what is ahead all the same.
const aheadKept = 5 * time.Second

// outdated forgets what is ahead where the worker has waited since some moment: for a pause, however short, which is where people mend rows, or
// for long. It is let finish, since a program that is stopped must be started again.
func (w *worker) outdated(paused bool, since time.Time) {
	if paused || time.Since(since) > aheadKept {
		w.awaitAhead()
		w.leaveAhead()
	}
}

// endOfAhead is where the chunk after another one ends, where that one is ahead; nil is not known.
func (w *worker) endOfAhead(seg Segment, chunk Chunk) *boundary {
	if w.ahead == nil || !w.ahead.follows(seg, chunk) {
		return nil
	}
	end := w.ahead.end
	return &end
}
