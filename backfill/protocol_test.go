package backfill

import "testing"

// The chunk that the ledger refused is somebody else's where it is there now; where it is not, a fence or a crash was the
// reason, and the segment goes on from what the ledger says. Refused again and again at one place, it is given up.
//
// Made to fail: with every refusal taken for contested, a worker leaves its own segment after a crash.
func TestPositionTellsWhoWasFirst(t *testing.T) {
	t.Parallel()
	refused := func() *position {
		p := &position{}
		p.read(Mark{Seq: 7})
		p.came(wasRefused, Chunk{})
		if p.wants(true) != toLook {
			t.Fatal("after a refusal it is not looked whether the segment is still there")
		}
		p.looked(true)
		if p.wants(true) != toRead {
			t.Fatal("after a refusal the ledger is not read")
		}
		return p
	}
	for _, c := range []struct {
		name     string
		now      Mark
		want     wish
		refusals int
	}{
		{"somebody did it", Mark{Seq: 8}, toYield, 0},
		{"somebody is far ahead", Mark{Seq: 20}, toYield, 0},
		{"closed by a fence", Mark{Seq: 8, Fence: "split"}, toLeave, 0},
		{"done", Mark{Seq: 8, Done: true}, toLeave, 0},
		{"memory was ahead", Mark{Seq: 5}, toChange, 0},
		{"nothing has changed", Mark{Seq: 7}, toChange, 1},
	} {
		p := refused()
		p.read(c.now)
		if got := p.wants(true); got != c.want || p.refusals != c.refusals {
			t.Errorf("%s: wants %d, %d refusals; expected %d, %d", c.name, got, p.refusals, c.want, c.refusals)
		}
	}
	p := refused()
	for range refusalsBorne {
		p.read(Mark{Seq: 7})
		if p.wants(true) != toChange {
			t.Fatalf("given up after %d refusals", p.refusals)
		}
		p.came(wasRefused, Chunk{})
	}
	p.read(Mark{Seq: 7})
	if p.wants(true) != toGiveUp {
		t.Errorf("not given up after %d refusals at one place", p.refusals)
	}
	p = refused()
	p.read(Mark{Seq: 7})
	if p.came(wasCommitted, Chunk{Seq: 8}); p.refusals != 0 || p.mark.Seq != 8 {
		t.Errorf("%d refusals, mark %d; a success ends the count and moves the mark", p.refusals, p.mark.Seq)
	}
}

// A segment that goes between the look at it and the reading of how far it is, with a failover, is looked for again, and then left.
//
// Made to fail: with what was looked at taken as settled, the ledger is read again and again.
func TestPositionOfASegmentThatGoes(t *testing.T) {
	t.Parallel()
	p := &position{doubtful: true}
	p.wants(true)
	p.looked(true)
	p.unread()
	if got := p.wants(true); got != toLook {
		t.Fatalf("wants %d; expected a look", got)
	}
	if p.looked(false); p.wants(true) != toYield {
		t.Error("a segment that is gone is not left")
	}
}
