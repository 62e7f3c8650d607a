package backfill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/rowjson"
)

const (
	// transformBytes bounds what the lines of all workers' chunks take together: what comes back, and what is sent to
	// the server, are about as much again each.
	transformBytes = 4 << 20
	// transformBytesLeast is what a worker may have in any case.
	transformBytesLeast = 256 << 10
	// firstTransformRows is where the servo starts: a program may take a second for a row.
	firstTransformRows = 100
	// outsideBorne is how often in a row the function of an embedding program may fail for no row's sake.
	outsideBorne = 10
)

// transforming is a job's transform at work, shared by the workers.
type transforming struct {
	plan     *PlannedTransform
	command  []string
	dir      string
	programs Programs
	function TransformFunc
	answer   rowjson.Answer
	// sent are the members of a line that is sent: the key's and those that are read.
	sent []sentMember
	// most bounds the rows of a chunk by what rows have taken so far; 0 is no bound.
	most atomic.Int64
	// heard is set once the program has answered a line in this process.
	heard atomic.Bool
}

// sentMember is a member of a line that is sent; label is its name and the colon.
type sentMember struct {
	label []byte
	kind  rowjson.Kind
}

// tooLargeError says that a chunk's rows take more memory than a chunk may, and about how many would fit.
type tooLargeError struct{ fit int }

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("the chunk's rows take too much memory; %d would fit", e.fit)
}

// rowFailedError is a row that the program, or function, said it could not do.
type rowFailedError struct {
	row  string
	text string
}

func (e *rowFailedError) Error() string { return "the transform failed row " + e.row + ": " + e.text }

// newTransforming makes ready what the plan's job needs; it refuses what is not allowed.
func newTransforming(o Options) (*transforming, error) {
	job := o.Plan.Job.Transform
	if job == nil || o.Plan.Transform == nil && (o.Plan.Pending || o.Plan.Finishing) { // not yet, or no more
		return nil, nil
	}
	plan := o.Plan.Transform
	t := &transforming{plan: plan, command: job.Command, dir: job.Dir, programs: o.Programs, function: o.Transforms[job.Go]}
	switch {
	case plan == nil:
		return nil, Inputf(o.Plan.Job.Origin, "make the plan with Planner.Plan", "the plan was made without its transform")
	case len(job.Command) > 0 && o.Programs == nil:
		return nil, ProgramsRefused(o.Plan.Job)
	case len(job.Command) > 0:
		if err := o.Programs.Find(job.Command, job.Dir); err != nil {
			return nil, err
		}
		t.function = nil
	case t.function == nil:
		return nil, Inputf(o.Plan.Job.Origin, "register it in Options.Transforms", "no function is registered as %q", job.Go)
	}
	t.answer = rowjson.Answer{Key: members(plan.Key), Returns: members(plan.Returns), Keyless: t.function != nil}
	for _, m := range slices.Concat(plan.Key, plan.Read) {
		t.sent = append(t.sent, sentMember{rowjson.AppendName(nil, m.Name), m.kind})
	}
	return t, nil
}

// ProgramsRefused is the error of a job that names a program where none may be run.
func ProgramsRefused(job Job) error {
	place := job.Origin
	if job.Transform.Line > 0 {
		place = fmt.Sprintf("%s:%d", job.Origin, job.Transform.Line)
	}
	return &Error{
		Place: place, Found: fmt.Sprintf("the job runs a program, %q, and programs are not allowed here", job.Transform.Command[0]),
		Remedy: "read what it does; then allow it: --allow-programs, PGBACKFILL_PROGRAMS_ALLOW=true, or programs: {allow: true} in the configuration",
		Kind:   ErrInput,
	}
}

// newSizer is the servo of a pass.
func (e *engine) newSizer(sparse bool) *sizer {
	s := newSizer(e.pace(), sparse)
	if first := e.plan.FirstRows; first > 0 && !sparse {
		s.rows = min(s.rows, first)
	}
	if e.transforms != nil && !sparse {
		s.rows = min(s.rows, firstTransformRows)
	}
	if bound := e.plan.Heap.bound(); bound > 0 {
		s.bound = bound
		s.set(e.pace())
	}
	return s
}

// fitting bounds a chunk's rows by what there is room for.
func (t *transforming) fitting(size int) int {
	if t == nil || t.most.Load() == 0 {
		return size
	}
	return min(size, int(t.most.Load()))
}

// took remembers how much a chunk of so many rows took of what it might.
func (t *transforming) took(size, bytes, budget int) {
	if bytes*2 < budget && t.most.Load() == 0 {
		return
	}
	fit := int64(float64(size) * 0.7 * float64(budget) / float64(max(bytes, 1)))
	t.most.Store(max(1, min(fit, int64(size)*3/2+1)))
}

// computer sends rows through a transform, some at a time, by a program of its own: a run's worker, or somebody who
// verifies what a run did. It is of one goroutine.
type computer struct {
	*transforming
	id      int
	pace    func() Pace
	observe Observer
	// abort ends what is computed at once.
	abort context.Context
	// readsAhead is set of a worker that has the next chunk's rows in memory too.
	readsAhead bool
	// program is at work; nil is none yet, or none any more.
	program Program
}

// computes is the worker as one that computes.
func (w *worker) computes() *computer {
	if w.computer == nil {
		w.computer = &computer{transforming: w.transforms, id: w.id, pace: w.pace, observe: w.observe, abort: w.abort, readsAhead: !w.transforms.plan.Others}
	}
	return w.computer
}

// endProgram ends the worker's program, where there is one.
func (w *worker) endProgram() {
	if w.computer != nil {
		w.computer.end()
	}
}

// budget is how many bytes the rows of one chunk may take. Where the next one is read while this one is at work, there are two.
func (c *computer) budget() int {
	bytes := max(transformBytes/max(c.pace().Workers, 1), transformBytesLeast)
	if c.readsAhead {
		bytes /= 2
	}
	return bytes
}

// shorter makes the chunk that was too large as long as it may be.
func (a *attempts) shorter(failed Chunk, fit int) {
	a.narrowed = append(a.narrowed, narrowing{rows: max(1, min(fit, failed.size/2)), ahead: failed.size})
}

// compute sends rows of a batch through the transform. Nothing is locked then, but in a last round.
func (c *computer) compute(ctx context.Context, b *batch, rows []int, divisible bool) error {
	if len(rows) == 0 {
		return ctx.Err()
	}
	// A second Ctrl-C ends what a first one lets finish.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.abort, cancel)()
	budget, answered := 4*c.budget(), 0
	each := func(line []byte) error {
		i := rows[answered]
		out, err := b.answer.Read(line, b.key(i))
		var failed *rowjson.RowError
		switch {
		case errors.As(err, &failed):
			return &rowFailedError{row: b.place(i), text: failed.Text}
		case err != nil:
			text := ""
			if len(line) == 0 || line[0] != '{' { // else it may hold what is nobody's business
				text = ": " + rowjson.Excerpt(line)
			}
			return fmt.Errorf("%w: line %d of %d, for row %s: %w%s", ErrProgramAnswer, answered+1, len(rows), b.place(i), err, text)
		}
		b.out[i] = out
		answered++
		c.heard.Store(true)
		if b.bytes += len(line); b.bytes > budget && divisible && len(rows) > 1 {
			return &tooLargeError{fit: answered * 3 / 4}
		}
		return nil
	}
	if c.function != nil {
		return c.call(ctx, b, rows, each)
	}
	lines := b.lines
	if len(rows) < b.rows() {
		lines = nil
		for _, i := range rows {
			lines = append(lines, b.line(i)...)
		}
	}
	if err := c.start(ctx); err != nil {
		return err
	}
	err := c.program.Exchange(ctx, lines, len(rows), c.pace().TransformTimeout, each)
	if err == nil {
		return nil
	}
	c.end()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, ErrProgramSilent) && answered == 0 {
		err = &mutedError{err}
		if len(rows) > 1 && c.silentAt(ctx, b.line(rows[len(rows)-1])) {
			err = &neverError{err}
		}
	}
	return err
}

// silentAt reports whether a program that has not answered one line yet leaves this one unanswered as well, which is another
// row's than the one that it was silent at: then it is not for the row's sake.
func (c *computer) silentAt(ctx context.Context, line []byte) bool {
	if c.heard.Load() || c.start(ctx) != nil {
		return false
	}
	defer c.end()
	err := c.program.Exchange(ctx, line, 1, c.pace().TransformTimeout, func([]byte) error { c.heard.Store(true); return nil })
	return ctx.Err() == nil && errors.Is(err, ErrProgramSilent)
}

// neverError is a program that has answered no row, whichever it was asked about.
type neverError struct{ err error }

func (e *neverError) Error() string { return e.err.Error() }
func (e *neverError) Unwrap() error { return e.err }

// mutedError is a program's silence from the first line on.
type mutedError struct{ err error }

func (e *mutedError) Error() string {
	return e.err.Error() + " (a program must answer each line without waiting for more, and flush its output)"
}
func (e *mutedError) Unwrap() error { return e.err }

// start makes sure that there is a program to speak to.
func (c *computer) start(ctx context.Context) error {
	if c.program != nil || ctx.Err() != nil {
		return ctx.Err()
	}
	p, err := c.programs.Start(c.command, c.dir, func(line string) { c.observe(ProgramSaid{Worker: c.id, Line: line}) })
	c.program = p
	return err
}

// end ends the program, where there is one.
func (c *computer) end() {
	if c.program != nil {
		c.program.Close()
		c.program = nil
	}
}

// call has the function of the embedding program do what a program would.
func (c *computer) call(ctx context.Context, b *batch, rows []int, each func([]byte) error) error {
	in := make([]json.RawMessage, len(rows))
	for n, i := range rows {
		line := b.line(i)
		in[n] = json.RawMessage(line[: len(line)-1 : len(line)-1])
	}
	patience := c.pace().TransformTimeout
	calling, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("%w: %d rows took more than %s", ErrProgramSilent, len(rows), patience))
	defer cancel()
	results, err := c.function(calling, in)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case calling.Err() != nil:
		return context.Cause(calling)
	case err != nil:
		return &outsideError{err}
	case len(results) != len(in):
		return fmt.Errorf("%w: %d results for %d rows", ErrProgramAnswer, len(results), len(in))
	}
	for n, r := range results {
		if r.Err != nil {
			return &rowFailedError{row: b.place(rows[n]), text: r.Err.Error()}
		}
		if err := each(r.JSON); err != nil {
			return err
		}
	}
	return nil
}

// outsideError is an error of the embedding program's function that is no row's.
type outsideError struct{ err error }

func (e *outsideError) Error() string { return "the transform failed: " + e.err.Error() }
func (e *outsideError) Unwrap() error { return e.err }

// transformFailed decides what follows an error of the transform; ours is false where it is none.
func (w *worker) transformFailed(chunk Chunk, try *attempts, err error) (ours bool, stop error) {
	var failed *rowFailedError
	var outside *outsideError
	var muted *mutedError
	var never *neverError
	switch {
	case w.transforms == nil:
		return false, nil
	case errors.Is(err, ErrProgramHoldsBack), errors.As(err, &never):
		return true, w.broken(chunk, try, err, "the transform's program does not answer, and that is no row's fault",
			"have it answer each line before it waits for the next one, and flush its output then; or raise timeouts.transform where it needs longer to start. Then run it again")
	case errors.As(err, &failed):
		return true, w.rowFails(chunk, try, err)
	case errors.Is(err, ErrProgramMissing):
		return true, &Error{Place: w.plan.Job.Origin, Found: err.Error(), Remedy: "mend the transform's command, or install what it needs", Kind: ErrInput}
	case errors.Is(err, ErrProgramAnswer):
		return true, w.broken(chunk, try, err, "the transform is not as agreed",
			"mend the program, then run it again: what is committed stays. A line in is an object; a line out repeats its key and has what returns: says, and nothing else")
	case errors.As(err, &outside):
		if try.outside++; try.outside < outsideBorne {
			return true, nil
		}
		return true, w.broken(chunk, try, err, "the transform failed again and again", "mend what it depends on, then run it again")
	case errors.Is(err, ErrProgramEnded):
		if try.outside++; try.outside < 2 {
			return true, nil
		}
		return true, w.rowFails(chunk, try, err)
	case errors.Is(err, ErrProgramSilent):
		w.sizer().shrink(chunk.size)
		if stop = w.rowFails(chunk, try, err); stop == nil && errors.As(err, &muted) && len(try.narrowed) > 0 {
			try.narrowed[len(try.narrowed)-1].rows = 1
		}
		return true, stop
	}
	return false, nil
}

// rowFails closes in on a row that the transform cannot do. The job says what becomes of it: it is treated as a row that
// cannot be changed, or stops the run in any case.
func (w *worker) rowFails(chunk Chunk, try *attempts, err error) error {
	if w.plan.Job.Transform.Quarantine || chunk.size > 1 && !try.segment.Nulls {
		return w.dataError(chunk, try, &statementError{name: "transform", err: err})
	}
	return w.broken(chunk, try, err, "the transform cannot do a row",
		"mend the row or the program, then run it again: it goes on at this row; or say  on_error: quarantine  to have such rows set aside")
}

// underLock bounds what is computed while rows are locked, over all.
func (c *computer) underLock(ctx context.Context) (context.Context, context.CancelFunc) {
	patience := c.pace().TransformTimeout
	return context.WithTimeoutCause(ctx, patience, fmt.Errorf("%w: rows are locked for no longer than %s", ErrProgramSilent, patience))
}

// idleWhileComputing is how long the server keeps a transaction that waits for the transform.
func idleWhileComputing(p Pace) time.Duration {
	if p.IdleTimeout <= 0 {
		return 0
	}
	return p.IdleTimeout + p.TransformTimeout
}
