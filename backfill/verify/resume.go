package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// Progress is how far a segment was read for a check.
type Progress struct {
	// Check is the check's place among all, from 1 on; No and Range are the segment's.
	Check int               `json:"check"`
	No    int               `json:"no"`
	Nulls bool              `json:"nulls"`
	Range backfill.KeyRange `json:"-"`
	// Watermark is the key through which it was read and nothing was wrong; nil is not at all. Done is set where it was
	// read to its end.
	Watermark backfill.Key `json:"watermark"`
	Done      bool         `json:"done"`
	// Counts is what was counted up to there.
	Counts json.RawMessage `json:"counts"`
}

// saving is how often it is written down how far a verification is.
const saving = time.Second

// tally is how far a piece was read. The verification's lock guards it.
type tally struct {
	counts
	ranges    int64
	watermark backfill.Key
	done      bool
	// spoiled is set where something was wrong or could not be read: the segment is to be read again, all of it.
	spoiled bool
	// unsaved is set where it is not written down yet.
	unsaved bool
}

// list are the counts in an order that stays, for writing them down.
func (t *tally) list() []*int64 {
	list := []*int64{&t.ranges, &t.rows, &t.expected, &t.actual, &t.unmatched, &t.multiple, &t.since, &t.unjudged, &t.hot, &t.all, &t.inside, &t.alone, &t.beside}
	for i := range t.only {
		list = append(list, &t.only[i])
	}
	return list
}

// add takes in what a part came to.
func (t *tally) add(c counts, now part) {
	t.ranges++
	t.rows += c.rows
	t.expected += c.expected
	t.actual += c.actual
	t.unmatched += c.unmatched
	t.multiple += c.multiple
	t.since += c.since
	t.unjudged += c.unjudged
	t.hot += c.hot
	t.all += c.all
	t.inside += c.inside
	t.alone += c.alone
	t.beside += c.beside
	t.only = plus(t.only, c.only)
	t.watermark, t.done, t.unsaved = now.rng.Through, now.last, true
	t.spoiled = t.spoiled || c.mismatches() > 0 || c.hot > 0
}

// progress is a piece as it is written down.
func (p piece) progress() (Progress, error) {
	out := Progress{Check: p.no, No: p.segment.No, Nulls: p.segment.Nulls, Range: p.segment.Range}
	counted := &tally{}
	if !p.tally.spoiled {
		counted = p.tally
	}
	out.Watermark, out.Done = counted.watermark, counted.done
	var err error
	out.Counts, err = json.Marshal(counted.list())
	return out, err
}

// goOn puts what was read before an interruption into the pieces, whose segments are those that were read then.
func (v *verification) goOn(saved []Progress) ([]piece, error) {
	list := make([]piece, len(saved))
	for i, s := range saved {
		if s.Check < 1 || s.Check > len(v.checks) {
			return nil, fmt.Errorf("verification %d: its record speaks of check %d, and there are %d", v.id, s.Check, len(v.checks))
		}
		p := piece{checking: v.checks[s.Check-1], tally: &tally{watermark: s.Watermark, done: s.Done}, segment: backfill.Segment{
			No: s.No, Pass: backfill.PassWalk, Nulls: s.Nulls, Range: s.Range,
		}}
		var counted []int64 // none is a segment of which nothing was read; an older version counted fewer
		err := json.Unmarshal(s.Counts, &counted)
		if p.result.Scope != nil {
			p.tally.only = make([]int64, len(p.result.Scope.Dropped))
		}
		fields := p.tally.list()
		if err != nil || len(counted) > len(fields) {
			return nil, fmt.Errorf("verification %d: its record of segment %d is not readable: %s", v.id, s.No, s.Counts)
		}
		for j, n := range counted {
			*fields[j] = n
		}
		p.result.add(p.tally.counts, p.tally.ranges)
		list[i] = p
	}
	return list, nil
}

// add takes in what was counted.
func (r *CheckResult) add(c counts, ranges int64) {
	r.Ranges += ranges
	r.Rows += c.rows
	r.Expected += c.expected
	r.Actual += c.actual
	r.Unmatched += c.unmatched
	r.Multiple += c.multiple
	r.Missing += c.missing
	r.Extra += c.extra
	r.Different += c.different
	r.Since += c.since
	r.Unjudged += c.unjudged
	r.Hot += c.hot
	if r.Scope != nil {
		r.Scope.Rows += c.all
		r.Scope.Inside += c.inside
		r.Scope.Alone += c.alone
		r.Scope.Beside += c.beside
		r.Scope.Only = plus(r.Scope.Only, c.only)
	}
}

// plus adds up counts of the same columns; none are all 0.
func plus(a, b []int64) []int64 {
	if len(a) < len(b) {
		a = append(a, make([]int64, len(b)-len(a))...)
	}
	for i, n := range b {
		a[i] += n
	}
	return a
}

// resumable reports whether it can be gone on with where it is interrupted: not where it reads as of one moment, which is
// over then, not where it is of a sample, which is drawn anew, and not where another database is asked, which may be another one.
func (v *verification) resumable() bool {
	return v.Plan.Heap == nil && v.sample == nil && !slices.ContainsFunc(v.checks, func(c *checking) bool { return c.Kind == KindDistant })
}

// saves writes down once a second how far the pieces were read, until it is told to stop; then once more. Where that
// fails nothing is lost but the time to read again.
func (v *verification) saves(ctx context.Context, pieces []piece) (stop func()) {
	if v.Record == nil || !v.resumable() {
		return func() {}
	}
	var wait sync.WaitGroup
	over := make(chan struct{})
	wait.Go(func() {
		tick := time.NewTicker(saving)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				v.save(ctx, pieces, false)
			}
		}
	})
	return func() {
		close(over)
		wait.Wait()
		if ctx.Err() != nil {
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			v.save(last, pieces, true)
		}
	}
}

func (v *verification) save(ctx context.Context, pieces []piece, leaving bool) {
	var list []Progress
	v.mu.Lock()
	for _, p := range pieces {
		if !p.tally.unsaved {
			continue
		}
		saved, err := p.progress()
		if err == nil {
			list = append(list, saved)
			p.tally.unsaved = false
		}
	}
	v.mu.Unlock()
	_ = v.Record.Progress(ctx, v.id, list, leaving) // it is written again with the next one, or read again
}
