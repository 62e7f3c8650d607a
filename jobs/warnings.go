package jobs

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// changing are PostgreSQL's functions that may give another value each time.
var changing = []string{
	"clock_timestamp", "current_date", "current_time", "current_timestamp", "gen_random_uuid", "localtime", "localtimestamp",
	"nextval", "now", "random", "random_normal", "statement_timestamp", "timeofday", "transaction_timestamp",
	"uuid_generate_v1", "uuid_generate_v1mc", "uuid_generate_v4", "uuidv4", "uuidv7",
}

// Warnings says what in a job may not be what was meant, though it can be run: a line
// each, with its place. The database is not asked; a plan finds more.
func Warnings(job backfill.Job) []string {
	w := warnings{job: job, supported: func(field string) bool { return !slices.Contains(notYet, field) }}
	return w.all()
}

// warnings gathers what is said of a job.
type warnings struct {
	job  backfill.Job
	list []string
	// supported says which fields of the job file there are: there is no advice to write others.
	supported func(field string) bool
}

func (w *warnings) all() []string {
	if w.job.Idempotent {
		for i := range w.job.Steps {
			w.twice(i)
		}
	}
	w.proof()
	w.unused()
	if p := w.job.Pace; p.ChunkRows > 0 && (p.ChunkTarget > 0 || p.ChunkMaxRows > 0) {
		w.say(0, "job %s: `chunk.rows` fixes the size of a chunk, so `target` and `max_rows` have no effect", w.job.Name)
	}
	return w.list
}

func (w *warnings) say(line int, format string, args ...any) {
	place := originFile.ReplaceAllString(w.job.Origin, "")
	if line > 0 {
		place = fmt.Sprintf("%s:%d", place, line)
	}
	w.list = append(w.list, place+": "+fmt.Sprintf(format, args...))
}

// originFile matches what an origin has behind the file's name.
var originFile = regexp.MustCompile(`#\d+$`)

// twice says what in a step may be wrong when a chunk is done again.
func (w *warnings) twice(step int) {
	s := w.job.Steps[step]
	if s.SQL != nil {
		w.commandTwice("step "+strings.TrimPrefix(s.Name, "step "), *s.SQL)
	}
	if s.Update == nil {
		return
	}
	// What an earlier step wrote is written again before this one reads it.
	written := writtenColumns(w.job.Steps[step:], w.job.Table)
	for _, a := range s.Update.Set {
		if read := readsWritten(a, written); read != "" {
			w.say(a.Value.Line, "`%s` is computed from `%s`, which this job writes: if running it twice changes the value again, say `idempotent: false`", a.Column, read)
		}
		if f := changingIn(a.Value.Functions); f != "" {
			w.say(a.Value.Line, "`%s` may get another value each time, from %s: running it twice may change it again; say `idempotent: false`, or write a constant", a.Column, f)
		}
	}
}

// guarded matches an INSERT that looks whether the row is there already.
var guarded = regexp.MustCompile(`(?i)\bON\s+CONFLICT\b|\bEXISTS\b|\bEXCEPT\b|\bLEFT\s+(OUTER\s+)?JOIN\b|\bNOT\s+IN\b`)

func (w *warnings) commandTwice(name string, c backfill.Command) {
	switch {
	case len(c.Rereads) > 0:
		w.say(c.Line, "%s: `%s` is computed from itself: if running it twice changes the value again, say `idempotent: false`", name, c.Rereads[0])
	case c.Kind == "insert" && !guarded.MatchString(c.SQL):
		w.say(c.Line, "%s: it inserts the rows again when it is run twice: write ON CONFLICT, or say `idempotent: false`", name)
	}
	if f := changingIn(c.Calls); f != "" {
		w.say(c.Line, "%s: it may assign another value each time, from %s: running it twice may change it again; say `idempotent: false`, or write a constant", name, f)
	}
}

// changingIn is a function among them that may give another value each time, or "".
func changingIn(functions []string) string {
	if i := slices.IndexFunc(functions, func(f string) bool { return slices.Contains(changing, f) }); i >= 0 {
		return functions[i]
	}
	return ""
}

// proof says what a verification of the job would not show.
func (w *warnings) proof() {
	job := w.job
	if !w.supported("verify") {
		return
	}
	captures := job.Undo != nil && job.Undo.Capture
	if slices.ContainsFunc(job.Verify, func(c backfill.Check) bool { return c.Recompute }) && w.supported("undo") && !captures {
		w.residual(nil)
	}
	if len(job.Verify) > 0 {
		return
	}
	u := job.UpdateStep()
	alone := len(job.Steps) == 1 && job.Transform == nil && (job.Steps[0].Delete || u != nil)
	switch {
	case !alone || !job.Idempotent:
		also := ""
		if job.Transform != nil && backfill.RecomputeRefused(job, 0) == nil {
			also = ", or `verify: {recompute: true}` where the transform gives the same for the same row each time (no random nonce)"
		}
		w.say(0, "job %s: nothing proves that it did what it should: say `verify`, as in `verify: {none: SELECT …}`%s", job.Name, also)
	case u != nil && w.supported("undo") && !captures:
		w.residual(u.Join)
	}
}

// residual says where rows leave the scope by being filled.
func (w *warnings) residual(join *backfill.Expr) {
	written := writtenColumns(w.job.Steps, w.job.Table)
	if w.job.Transform != nil {
		written = append(written, w.job.Transform.Write...)
	}
	for _, part := range []struct {
		name string
		expr *backfill.Expr
	}{{"where", w.job.Where}, {"join", join}} {
		if part.expr == nil {
			continue
		}
		for _, column := range written {
			if slices.Contains(part.expr.Columns, "t."+column) || slices.Contains(part.expr.Columns, column) {
				w.say(part.expr.Line, "`%s` mentions `%s`, which this job writes: rows leave the scope by being filled, so verification shows only that none is left (a *residual* proof); with `undo: capture` it shows that each is right", part.name, column)
				break
			}
		}
	}
}

// unused says which names nothing speaks of.
func (w *warnings) unused() {
	used := w.exprs()
	for _, p := range w.job.Params {
		if !slices.ContainsFunc(used, func(e backfill.Expr) bool { return slices.Contains(e.Params, p.Name) }) {
			w.say(p.Line, "the parameter :%s is never used", p.Name)
		}
	}
	for _, h := range w.job.Helpers {
		if h.Name != w.job.WalkHelper && !slices.ContainsFunc(used, func(e backfill.Expr) bool { return slices.Contains(e.Templates, "helper "+h.Name) }) {
			w.say(h.Query.Line, "the helper %s is never used", h.Name)
		}
	}
}

// exprs are all fragments of a job.
func (w *warnings) exprs() []backfill.Expr {
	var list []backfill.Expr
	add := func(exprs ...*backfill.Expr) {
		for _, e := range exprs {
			if e != nil {
				list = append(list, *e)
			}
		}
	}
	set := func(assignments []backfill.Assignment) {
		for i := range assignments {
			add(&assignments[i].Value)
		}
	}
	job := w.job
	add(job.Where)
	for i := range job.Params {
		add(job.Params[i].SQL)
	}
	for i := range job.Helpers {
		add(&job.Helpers[i].Query)
	}
	for _, s := range []*backfill.Script{job.Prepare, job.Finish} {
		if s != nil {
			list = append(list, s.Statements...)
		}
	}
	if job.Transform != nil {
		list = append(list, job.Transform.Read...)
	}
	for _, s := range job.Steps {
		if s.SQL != nil {
			add(&s.SQL.Expr)
		}
		if s.Update != nil {
			set(s.Update.Set)
			add(s.Update.From, s.Update.Join)
		}
	}
	for _, c := range job.Verify {
		set(c.Expect)
		add(c.Expected, c.Actual, c.None)
	}
	if job.Undo != nil {
		set(job.Undo.Set)
	}
	return list
}

// writtenColumns are the columns of the table that the steps give a value other than their own.
func writtenColumns(steps []backfill.Step, table backfill.TableName) []string {
	var names []string
	for _, s := range steps {
		if s.SQL != nil && same(s.SQL.Target, table) {
			names = append(names, s.SQL.Written...)
		}
		if s.Update == nil {
			continue
		}
		for _, a := range s.Update.Set {
			if !slices.Contains([]string{"t." + a.Column, a.Column}, identity(a.Value)) {
				names = append(names, a.Column)
			}
		}
	}
	return names
}

// identity is the column that an expression is and nothing more, or "".
func identity(e backfill.Expr) string {
	bare := strings.Trim(e.SQL, "() \t\r\n")
	if len(e.Columns) == 1 && len(e.Functions) == 0 && strings.EqualFold(strings.ReplaceAll(bare, `"`, ""), e.Columns[0]) {
		return e.Columns[0]
	}
	return ""
}

// fillsGap matches an expression that keeps what is there and fills in what is not.
var fillsGap = regexp.MustCompile(`(?is)^\s*coalesce\s*\(\s*(t\s*\.\s*)?"?([^"\s,.]+)"?\s*,`)

// readsWritten is a written column that the assignment reads, or "". A COALESCE that
// begins with the column itself gives the same the second time.
func readsWritten(a backfill.Assignment, written []string) string {
	if m := fillsGap.FindStringSubmatch(a.Value.SQL); m != nil && strings.EqualFold(m[2], a.Column) {
		return ""
	}
	for _, column := range a.Value.Columns {
		for _, w := range written {
			if column == "t."+w || column == w {
				return w
			}
		}
	}
	return ""
}
