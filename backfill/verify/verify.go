package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Throttle says when the next rows may be read. Package throttle has the real one.
type Throttle interface {
	// Wait returns when rows more rows may be read, or with ctx's error.
	Wait(ctx context.Context, rows int) error
}

// Options are what a verification needs.
type Options struct {
	// Plan is the job against the database, as [backfill.Planner.Survey] gives it; its pace says how many workers
	// read at the same time and how long a statement may take.
	Plan *backfill.Plan
	// Checks are those of [Checks].
	Checks []Check
	// Connect makes the workers' connections.
	Connect backfill.Connect
	// Shown is where Connect leads to a standby: a snapshot of the primary's, all of which is visible there. "" is not known, and
	// then nobody can say what the verification saw.
	Shown string
	// Run is the newest run of the job; nil where none is known.
	Run *Run
	// Target is how long a part should take to be read; the default is a second.
	Target time.Duration
	// Programs and Transforms are what a check that runs the job's transform again may run: see [backfill.Options].
	Programs   backfill.Programs
	Transforms map[string]backfill.TransformFunc
	// Throttle bounds the rows read; nil is no bound.
	Throttle Throttle
	// Observer is told what happens, in the engine's words: a part that was read is a chunk. Nil is nobody.
	Observer backfill.Observer
	// Samples is how many mismatches of a check are named; the default is 10. All are counted.
	Samples int
	// ShowValues has the values of wrong rows in the verdict. They may be secrets.
	ShowValues bool
	// Record keeps the verification; nil is nobody, and NotRecorded says why.
	Record      Record
	NotRecorded string
	// Again begins anew where a verification of the same was interrupted.
	Again bool
	// Databases are those that a check may name with in:, and Still is how long a row must stand still here and there for a
	// difference to count: longer than one lags behind the other. The default is two seconds.
	Databases map[string]backfill.Connect
	Still     time.Duration
	// Sample is the part of the rows that is looked at, from 0 to 1; 0 is all. See [Sampled].
	Sample float64
}

// Verify reads every row and says what it came to. The error is of what kept it from reading at all: a check that
// PostgreSQL refuses is a [backfill.ErrInput]; where ctx ended it is a
// [backfill.ErrInterrupted].
func Verify(ctx context.Context, o Options) (Verdict, error) {
	if o.Samples == 0 {
		o.Samples = 10
	}
	if o.Target == 0 {
		o.Target = time.Second
	}
	if o.Still == 0 {
		o.Still = still
	}
	if o.Observer == nil {
		o.Observer = func(backfill.Event) {}
	}
	v := &verification{Options: o, started: time.Now()}
	for _, c := range o.Checks {
		if c.Residual == "" {
			c.Residual = residualOf(o.Plan.Job, writes(o.Plan.Job).generated(o.Plan.Table), c)
		}
		c, err := repeatable(o, c)
		if err != nil {
			return Verdict{}, err
		}
		p, err := proofOf(o, c)
		if err != nil {
			return Verdict{}, v.refused(c, err)
		}
		v.checks = append(v.checks, &checking{Check: c, no: len(v.checks) + 1, proof: p, result: CheckResult{Name: c.Name, Kind: c.Kind}})
	}
	err := v.drawSample()
	if err == nil {
		v.outside, err = outsideOf(o)
	}
	if err == nil {
		err = v.prepare(ctx)
	}
	if err == nil {
		err = v.look(ctx)
	}
	var pieces []piece
	if err == nil {
		pieces, err = v.begin(ctx)
	}
	if err == nil {
		v.Observer(backfill.RunStarted{Run: v.run(), Job: "verifying " + o.Plan.Job.Name, EstimatedRows: o.Plan.EstimatedRows * int64(len(v.checks))})
		v.Observer(backfill.PassStarted{Pass: backfill.PassWalk, Segments: len(pieces)})
		err = v.work(ctx, pieces)
		v.Observer(backfill.RunEnded{Err: err})
	}
	if ctx.Err() != nil {
		err = &backfill.Error{Place: "job " + o.Plan.Job.Name, Found: "the verification was interrupted; it says nothing", Remedy: v.again(), Kind: backfill.ErrInterrupted}
	}
	if err != nil {
		return Verdict{}, err
	}
	out := v.verdict()
	v.end(ctx, &out)
	return out, nil
}

// verification is one going-over of the table.
type verification struct {
	Options
	started time.Time
	checks  []*checking
	// from is where it reads, id the number under which it is kept, and unrecorded why it is not.
	from       Standpoint
	id         int64
	unrecorded string

	// mu guards the results of the checks, the number of rows that are named, and what could not be read.
	mu           sync.Mutex
	named        int
	unverifiable []Unverifiable
	unread       int64
	// blinded says what the role may not see.
	blinded []string
	// sample is which rows are looked at; nil is all.
	sample *pgsql.Sample
	// outside is what is asked of the rows that the scope leaves out; nil is nothing.
	outside *outside
}

// checking is a check at work.
type checking struct {
	Check
	proof
	// no is its place among the checks, from 1 on; unread is set where the role may not ask it.
	no     int
	unread bool
	result CheckResult
	// samples are by segment, since workers find them in any order.
	samples map[int][]Mismatch
}

// piece is a segment to be read for one check.
type piece struct {
	*checking
	segment backfill.Segment
	tally   *tally
}

func (v *verification) run() backfill.RunID {
	if v.Run == nil {
		return 0
	}
	return v.Run.ID
}

// prepare lets the server read all checks before any row is.
func (v *verification) prepare(ctx context.Context) error {
	s := newSession(v.Options)
	defer s.close(ctx)
	for _, c := range v.checks {
		prepare := func() error {
			return s.job(ctx, c.finding(), func(r *reading) error { return c.proof.prepare(ctx, r) })
		}
		err := prepare()
		if err != nil && c.history != nil {
			if err = v.withoutHistory(c, err); err == nil {
				err = prepare()
			}
		}
		switch {
		case pgerr.Code(err) == notAllowed:
			v.blind(c.Check, err)
			c.unread = true
		case err != nil:
			return v.refused(c.Check, err)
		}
	}
	v.counting()
	return nil
}

// notAllowed is the SQLSTATE of what the role may not see: a column, a table, or the rows that a policy hides.
const notAllowed = "42501"

// blind puts on record that the role may not see all that a check is about: it is not a pass, whatever is found in the rest.
func (v *verification) blind(c Check, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	text := fmt.Sprintf("%s: %s", c.Name, pgerr.Describe(v.Plan.Hide(err)))
	if !slices.Contains(v.blinded, text) {
		v.blinded = append(v.blinded, text)
	}
}

// refused is why a check cannot be asked.
func (v *verification) refused(c Check, err error) error {
	var ours *backfill.Error
	if errors.As(err, &ours) {
		return err
	}
	e := &backfill.Error{Place: whereIn(v.Plan.Job, c.line), Found: "check " + c.Name, Err: described{v.Plan.Hide(err)}}
	switch {
	case pgerr.Code(err) == "25006":
		e.Kind, e.Remedy = backfill.ErrInput, "a check only reads: leave out what writes or locks"
	case pgerr.Code(err) != "" && pgerr.Class(err) == pgerr.Fatal:
		e.Kind, e.Remedy = backfill.ErrInput, "mend the SQL of the check"
	case pgerr.Code(err) == "" && pgerr.Class(err) == pgerr.Fatal:
		e.Kind, e.Remedy = backfill.ErrInput, "see the templates in the manual"
	}
	return e
}

// pieces are what there is to read: the planned segments, the first and the last one open, and the rows with a NULL
// in the key, for each check.
func (v *verification) pieces() []piece {
	var segments []backfill.Segment
	for _, s := range v.Plan.Segments {
		if !s.Nulls {
			segments = append(segments, s)
		}
	}
	if len(segments) == 0 { // no row is there, and some may have to be
		segments = []backfill.Segment{{}}
	}
	segments[0].Range.After, segments[len(segments)-1].Range.Through = nil, nil
	nullable := slices.ContainsFunc(v.Plan.Key, func(k pgsql.KeyColumn) bool { return k.Nullable })
	var list []piece
	for _, c := range v.checks {
		if c.unread {
			continue
		}
		all := segments
		if nullable || c.ofOthers() {
			all = append(slices.Clone(segments), backfill.Segment{Nulls: true})
		}
		for i, s := range all {
			s.No, s.Pass = i+1, backfill.PassWalk
			list = append(list, piece{checking: c, segment: s, tally: &tally{}})
		}
	}
	return list
}

// work reads all pieces.
func (v *verification) work(ctx context.Context, pieces []piece) error {
	defer v.saves(ctx, pieces)()
	queue := make(chan piece, len(pieces))
	for _, p := range pieces {
		queue <- p
	}
	close(queue)
	snapshot := ""
	if v.Plan.Heap != nil {
		holder := newSession(v.Options)
		defer holder.close(ctx)
		var err error
		if snapshot, err = holder.hold(ctx, pgsql.Walk{Table: v.Plan.Table.Quoted, Key: v.Plan.Key}); err != nil {
			return fmt.Errorf("taking a snapshot: %w", v.Plan.Hide(err))
		}
	}
	g, working := errgroup.WithContext(ctx)
	for id := range min(max(v.Plan.Pace.Workers, 1), len(pieces)) { // none where the role may not ask any check
		g.Go(func() error {
			w := &worker{verification: v, id: id + 1, session: newSession(v.Options)}
			w.session.snapshot, w.session.id = snapshot, w.id
			defer w.session.close(working)
			for p := range queue {
				if err := w.segment(working, p); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// counted takes in what a part came to.
func (v *verification) counted(p piece, now part, c counts, samples []Mismatch) {
	v.mu.Lock()
	defer v.mu.Unlock()
	p.result.add(c, 1)
	p.tally.add(c, now)
	if p.samples == nil {
		p.samples = map[int][]Mismatch{}
	}
	no := p.segment.No
	for i := range samples {
		if samples[i].Class == "" {
			plainly(&samples[i])
		}
	}
	p.samples[no] = append(p.samples[no], samples...)
	v.named += len(samples)
}

// wanted is how many more rows of a segment are to be named: for people the first ones of the first segments, whatever
// others have found, and where they are kept as many as may be.
func (v *verification) wanted(p piece) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	most := v.Samples - len(p.samples[p.segment.No])
	if v.Record != nil {
		most = max(most, recordedMost-v.named)
	}
	return most
}

// found are the rows of a check that are named, in the order of the segments.
func (c *checking) found() []Mismatch {
	var list []Mismatch
	for _, no := range slices.Sorted(maps.Keys(c.samples)) {
		list = append(list, c.samples[no]...)
	}
	return list
}

func (v *verification) missed(p piece, u Unverifiable) {
	v.mu.Lock()
	defer v.mu.Unlock()
	p.tally.spoiled, p.tally.unsaved = true, true
	v.unread++
	if len(v.unverifiable) < unverifiableKept {
		v.unverifiable = append(v.unverifiable, u)
	}
}
