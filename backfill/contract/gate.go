package contract

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Options say what is asked about and where. Conn and Job are required.
type Options struct {
	Job  backfill.Job
	Conn *pgx.Conn
	// Triggers look at the engine's own triggers for the job; nil leaves that unknown.
	Triggers func(context.Context) (Triggers, error)
	// Standbys are asked themselves, besides what the primary says of those it sees.
	Standbys []Standby
	// Databases are those that the job's checks name with in:, by that name.
	Databases map[string]backfill.Connect
	// BackupAt is when the last backup was made, as somebody said it; zero is that the job's own query is asked.
	BackupAt time.Time
	// Patience is how long standbys may take to show what is written; 3 s by default.
	Patience time.Duration
	// Timeout bounds each question; 1 min by default.
	Timeout time.Duration
	// Who asks and Tool is the version of the program; both are recorded.
	Who, Tool string
}

// Standby is a server that is asked itself.
type Standby struct {
	Name    string
	Connect backfill.Connect
}

// Triggers is what there is of the engine's own triggers for a job.
type Triggers struct {
	// Possible is set where the job is one that a tripwire can watch, as far as is known.
	Possible bool
	// Installed is set where a tripwire is recorded. Complaints are what is not as it was installed, and Interrupted what was
	// switched off or made anew since; of the dual-write trigger too, where the job has one.
	Installed               bool
	Complaints, Interrupted []string
	// Evidence says in lines what there is.
	Evidence []string
}

// Gate looks at every condition and writes down what it came to. An error is one that kept it from looking or from writing.
func Gate(ctx context.Context, o Options) (Result, error) {
	if o.Patience == 0 {
		o.Patience = 3 * time.Second
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	g := &gate{Options: o, terms: o.Job.ContractTerms()}
	if err := g.begin(ctx); err != nil {
		return Result{}, fmt.Errorf("looking at job %s: %w", o.Job.Name, err)
	}
	for _, c := range conditions {
		found, err := g.look(ctx, c)
		if err != nil {
			return Result{}, fmt.Errorf("condition %s: %w", c.id, err)
		}
		g.result.Conditions = append(g.result.Conditions, found)
	}
	if err := g.waive(ctx); err != nil {
		return Result{}, fmt.Errorf("reading waivers: %w", err)
	}
	g.result.Verdict = Ready
	if g.result.Count(Fail)+g.result.Count(Unknown) > 0 {
		g.result.Verdict = Refused
	}
	if err := g.store(ctx); err != nil {
		return g.result, fmt.Errorf("recording what the gate came to: %w", err)
	}
	return g.result, nil
}

// gate is one look.
type gate struct {
	Options
	terms  backfill.Contract
	about  pgsql.GateAbout
	result Result
	// searchPath is that of the run's statements, as a list of quoted names.
	searchPath string
	snapshot   string
	began      string
	watched    bool
	// rests is what the verdict rests on, as it was before any condition was looked at.
	rests pgsql.GateRested
	// unknown is why it cannot be said which databases the job's checks ask; "" is that it can.
	unknown string
	// undropped says what of the job's drops cannot be asked about.
	undropped []string
	// told is set once it is said that the job must name what will be dropped.
	told bool
	// until is when the first waiver ends that was needed.
	until time.Time
}

// begin finds out what is asked about.
func (g *gate) begin(ctx context.Context) error {
	moment, err := g.ask(ctx, pgsql.GateMoment)
	if err != nil {
		return err
	}
	g.snapshot, g.began = moment[0][0], moment[0][1]
	g.result.Job, g.result.Began = g.Job.Name, at(g.began)
	g.result.Drops = []string{}
	g.about = pgsql.GateAbout{
		Job: g.Job.Name, SpecHash: g.Job.Hash(), MaxAge: g.terms.ReportMaxAge.Seconds(), Soak: g.terms.Soak.Seconds(), MinWrites: g.terms.MinWrites,
		Relations: []uint32{}, Columns: []string{}, Names: g.Job.Names(), Scoped: g.Job.Where != nil,
	}
	which, err := g.Job.WhichDatabases(ctx, g.Databases)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		g.unknown = "which database the checks are to ask is not known here: " + err.Error()
	}
	g.about.Asked = g.Job.ChecksHash(which)
	run, err := g.ask(ctx, pgsql.GateRun(g.Job.Name))
	if err != nil {
		return err
	}
	if len(run) > 0 {
		g.about.Run, _ = strconv.ParseInt(run[0][0], 10, 64)
		table, _ := strconv.ParseUint(run[0][2], 10, 32)
		g.about.Table, g.searchPath = uint32(table), run[0][5]
		g.result.Run = g.about.Run
	}
	for _, d := range g.terms.Drops {
		found, err := g.ask(ctx, pgsql.GateColumn(d.Table.Schema, d.Table.Name, d.Column, g.about.Table))
		if err != nil {
			return err
		}
		oid, _ := strconv.ParseUint(found[0][0], 10, 32)
		switch {
		case oid == 0:
			g.undropped = append(g.undropped, fmt.Sprintf("%s: there is no such table", d))
		case found[0][2] != "t":
			g.undropped = append(g.undropped, fmt.Sprintf("%s: the table %s has no such column (any more)", d, found[0][1]))
		default:
			g.about.Relations, g.about.Columns = append(g.about.Relations, uint32(oid)), append(g.about.Columns, d.Column)
			g.result.Drops = append(g.result.Drops, found[0][1]+"."+pgsql.Ident(d.Column))
		}
	}
	rests, err := g.ask(ctx, pgsql.GateRests(g.about))
	if err != nil {
		return err
	}
	r := rests[0]
	g.rests = pgsql.GateRested{Verification: r[0], LedgerRows: r[1], Shape: r[2], Attributes: r[3], Functions: r[4]}
	return nil
}

// at is a time of the server's, which comes as seconds.
func at(seconds string) time.Time {
	f, err := strconv.ParseFloat(seconds, 64)
	if err != nil || math.IsInf(f, 0) {
		return time.Time{}
	}
	return time.UnixMicro(int64(math.Round(f * 1e6))).UTC()
}

// waive puts the waivers that hold beside the conditions that do not.
func (g *gate) waive(ctx context.Context) error {
	rows, err := g.ask(ctx, pgsql.GateWaivers(g.Job.Name))
	if err != nil {
		return err
	}
	for _, row := range rows {
		w := Waiver{Condition: row[0], Why: row[1], Until: at(row[2]), Who: row[3], At: at(row[4])}
		i := slices.IndexFunc(g.result.Conditions, func(c Condition) bool { return c.ID == w.Condition && c.Status != Pass })
		if i < 0 {
			continue
		}
		c := &g.result.Conditions[i]
		if c.unwaivable() {
			c.Evidence = append(c.Evidence, fmt.Sprintf("the waiver of %s (%s) does not cover what is known to be wrong", w.Who, w.Why))
			continue
		}
		c.Was, c.Status, c.Waiver = c.Status, Waived, &w
		if g.until.IsZero() || w.Until.Before(g.until) {
			g.until = w.Until
		}
	}
	return nil
}

// unwaivable reports whether a condition fails because rows are known to be wrong, or not to have been done: a waiver is
// for what cannot be known or need not be, and one that was given for that must not cover this later.
func (c Condition) unwaivable() bool {
	if c.Status != Fail {
		return false
	}
	return c.ID == "coverage" || c.ID == "verified" ||
		c.ID == "soak" && slices.ContainsFunc(c.Evidence, func(line string) bool { return strings.Contains(line, "broke the relation") })
}

// Waive writes down that somebody does without conditions until a date.
func Waive(ctx context.Context, conn *pgx.Conn, job string, ids []string, why string, until time.Time, who string) error {
	g := &gate{Options: Options{Conn: conn, Timeout: time.Minute}}
	for _, id := range ids {
		if err := g.write(ctx, pgsql.GateWaive(job, id, why, until, who)); err != nil {
			return fmt.Errorf("writing the waiver down: %w", err)
		}
	}
	return nil
}

// store writes the result down, for assert_ready.
func (g *gate) store(ctx context.Context) error {
	text, err := json.Marshal(g.result.Conditions)
	if err != nil {
		return err
	}
	statement := pgsql.GateStore(pgsql.GateResult{
		GateAbout: g.about, Ready: g.result.Verdict == Ready, Conditions: string(text), Watched: g.watched, WaivedUntil: g.until,
		Snapshot: g.snapshot, Began: g.began, Who: g.Who, Tool: g.Tool, Rests: g.rests,
	})
	rows, err := g.writeRows(ctx, statement)
	if err == nil && len(rows) == 1 {
		g.result.ID, err = strconv.ParseInt(rows[0][0], 10, 64)
	}
	return err
}
