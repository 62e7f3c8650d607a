package backfill

import (
	"slices"

	"github.com/pgbackfill/pgbackfill/internal/planted"
)

// The protocol of a segment: what its worker knows, what the worker wants next, and what follows from what came of it. There is no
// server and no clock in it: [worker.segment] carries out the wishes against PostgreSQL, and the simulation in simulation_test.go against a
// model of it. What the ledger takes is the other half: internal/ledger.

// wish is what a worker wants next in its segment.
type wish int

const (
	// toConnect is to have a connection.
	toConnect wish = iota
	// toLook is to look whether the run still has the segment as it was when it was taken.
	toLook
	// toRead is to read from the ledger how far the segment is.
	toRead
	// toChange is to change the next chunk.
	toChange
	// toLeave is to leave the segment, which is closed.
	toLeave
	// toYield is to leave it to another process, or because it is no more.
	toYield
	// toGiveUp is to end the run: the ledger refuses what follows its last row.
	toGiveUp
)

// outcome is what came of a chunk, as far as its worker knows.
type outcome int

const (
	// wasCommitted is a chunk that the ledger has, with its rows.
	wasCommitted outcome = iota
	// wasRefused is one that the ledger did not take, and that was rolled back.
	wasRefused
	// wasRolledBack is one that failed otherwise: nothing of it is there, and what was known before is still so.
	wasRolledBack
	// wasMoved is one that was rolled back since its rows are not in the table any more where they were looked for.
	wasMoved
	// wasUnheard is one whose connection was lost: it may be committed or not.
	wasUnheard
)

// refusalsBorne is how often the ledger may refuse the chunk that follows its last row. It is
// more than never, since a refusal and the reading after it are two moments.
const refusalsBorne = 5

// position is where a worker is in a segment.
type position struct {
	seg  Segment
	mark Mark
	// known is whether mark is what the ledger says, doubtful whether the segment itself may be no
	// more what it was when it was taken.
	known, doubtful bool
	// gone is set where the run has the segment no more, and theirs where another process did the chunk that was refused.
	gone, theirs bool
	// refusedAt is the sequence number that the ledger refused, 0 for none, and refusals how often
	// it did so without having got any further.
	refusedAt, refusals int
	// next is the end of the next chunk, nil where it is still to be found.
	next *boundary
	// window is what the passes over the window at hand have come to.
	window windowCounts
}

// wants is what comes next.
func (p *position) wants(connected bool) wish {
	if !connected {
		p.lost()
		return toConnect
	}
	switch {
	case p.gone, p.theirs:
		return toYield
	case p.known && p.refusals > refusalsBorne:
		return toGiveUp
	case p.known && p.mark.Closed():
		return toLeave
	case p.known:
		return toChange
	case p.doubtful:
		return toLook
	}
	return toRead
}

// lost forgets: memory is never trusted over a lost connection, for acknowledged commits, and splits, can vanish with
// a crash or a failover.
func (p *position) lost() {
	if planted.In(planted.KeptWatermark) {
		return
	}
	p.known, p.doubtful = false, true
}

// looked takes whether the run still has the segment.
func (p *position) looked(there bool) {
	p.doubtful = false
	if !there {
		p.gone, p.mark = true, Mark{}
	}
}

// unread takes that the ledger has no such segment: it went between the look and the reading.
func (p *position) unread() { p.known, p.doubtful = false, true }

// read takes what the ledger says. Where the chunk that was refused is there, from somebody else, the segment is theirs and
// this worker goes elsewhere.
func (p *position) read(mark Mark) {
	p.mark, p.known = mark, true
	p.theirs = p.refusedAt > 0 && mark.Seq >= p.refusedAt && !mark.Closed()
	if p.refusedAt == mark.Seq+1 {
		p.refusals++
	} else {
		p.refusals = 0
	}
	p.refusedAt = 0
}

// chunk is the next one of the segment, as far as it follows from the mark: its end is still to be found.
func (p *position) chunk() Chunk {
	after := p.mark.Watermark
	if p.mark.Seq == 0 {
		after = p.seg.Range.After
	}
	return Chunk{
		Segment: p.seg.No, SegmentThrough: p.seg.Range.Through, SegmentPass: p.seg.Pass, SegmentLeaf: p.seg.Leaf,
		Seq: p.mark.Seq + 1, Range: KeyRange{After: after},
	}
}

// came takes what came of the next chunk. What is true after a refusal, or where no answer was heard, is in the ledger, and never guessed.
func (p *position) came(of outcome, c Chunk) {
	if of == wasUnheard && planted.In(planted.GuessedCommitted) {
		of = wasCommitted
	}
	p.next = nil
	switch of {
	case wasCommitted:
		p.mark = p.mark.after(c, p.seg)
		p.refusals = 0
	case wasRefused:
		p.refusedAt = p.mark.Seq + 1
		p.known, p.doubtful = false, true
	case wasMoved:
		p.known, p.doubtful = false, true
	case wasUnheard:
		p.lost()
	case wasRolledBack:
	}
}

// after is the mark once the chunk is known to be committed.
func (m Mark) after(c Chunk, seg Segment) Mark {
	m.Seq, m.Watermark = c.Seq, c.Range.Through
	m.Done = seg.Nulls || c.last
	m.RowsSeen += c.RowsSeen
	for _, n := range c.RowsChanged {
		m.RowsChanged += n
	}
	m.Unmatched += c.Unmatched
	m.Multiple += c.Multiple
	return m
}

// stillThere reports whether a segment is in a list of those of its pass as it was when it was taken. A crash, or a failover, can take back
// a split that was acknowledged, and then its parts are no more, or others have their numbers.
func stillThere(list []SegmentState, seg Segment) bool {
	i := slices.IndexFunc(list, func(s SegmentState) bool { return s.No == seg.No })
	if i < 0 {
		return false
	}
	s := list[i]
	return s.Pass == seg.Pass && s.Parent == seg.Parent && s.Nulls == seg.Nulls && s.Leaf == seg.Leaf &&
		slices.Equal(s.Range.After, seg.Range.After) && slices.Equal(s.Range.Through, seg.Range.Through)
}

// ending are the statements that end the transaction in which a chunk's rows were changed: the ledger row is its last one, so
// that the rows commit with it or not at all.
func ending[S any](begin, ledger, commit S) []S {
	if planted.In(planted.LedgerOutside) {
		return []S{commit, begin, ledger, commit}
	}
	return []S{ledger, commit}
}

// heard is what came of a chunk, from what is known of those of its [ending] statements: how many were answered, of how many, how the COMMIT
// was, and whether the ledger has refused its row, and the connection been lost. A transaction that had failed is
// answered with ROLLBACK, without an error.
func heard(answered, of int, tag string, refused, lost bool) outcome {
	switch {
	case answered == of && (tag == "COMMIT" || planted.In(planted.TagUnchecked)):
		return wasCommitted
	case answered == of-2 && refused: // another statement's error may look like it
		return wasRefused
	case answered < of && lost:
		return wasUnheard
	}
	return wasRolledBack
}
