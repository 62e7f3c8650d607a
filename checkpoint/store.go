package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Options say who opens a store. The zero value works.
type Options struct {
	// Version is the tool's, recorded with runs; the default is "dev".
	Version string
	// Who is the person or the account behind this process, for people: "ann@laptop"; the default is the host's name.
	Who string
	// Host and PID are this process's place; the defaults are the machine's name and os.Getpid.
	Host string
	PID  int
	// Process names this process among all that work on a run, and must be unique; the default is host/pid/random.
	Process string
	// Patience is how long a lost connection, or a lock that is not had, is tried again before it is an error; 15 s by default.
	Patience time.Duration
	// ReadOnly is a store that is only looked at, which may be that of a standby: as far as it has replayed.
	ReadOnly bool
	// CancelPatience is how long Cancel waits for workers' open transactions; 30 s by default.
	CancelPatience time.Duration
}

func (o Options) withDefaults() Options {
	if o.Version == "" {
		o.Version = "dev"
	}
	if o.Host == "" {
		o.Host, _ = os.Hostname()
	}
	if o.Host == "" {
		o.Host = "unknown"
	}
	if o.PID == 0 {
		o.PID = os.Getpid()
	}
	if o.Who == "" {
		o.Who = o.Host
	}
	if o.Process == "" {
		o.Process = fmt.Sprintf("%s/%d/%06x", o.Host, o.PID, rand.N(1<<24))
	}
	if o.Patience == 0 {
		o.Patience = 15 * time.Second
	}
	if o.CancelPatience == 0 {
		o.CancelPatience = 30 * time.Second
	}
	return o
}

// Store makes and finds runs. It has one connection, which it makes again by itself when it is
// lost, and may be used by many goroutines at once.
type Store struct {
	link           *link
	version        string
	who            string
	host           string
	pid            int
	process        string
	patience       time.Duration
	cancelPatience time.Duration
}

// Open connects and looks at the schema. The error is a [backfill.ErrNotFound] where the schema
// is not installed, a [backfill.ErrIncompatible] where it is another version's and a
// [backfill.ErrUnreadable] where it is damaged or this role may not read it.
func Open(ctx context.Context, connect backfill.Connect, opts Options) (*Store, error) {
	conn, err := connect(ctx) // once: who starts wants to know at once that nobody answers
	if err != nil {
		return nil, err
	}
	if _, err := Status(ctx, conn); err != nil {
		return nil, errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
	}
	return OpenOn(conn, connect, opts), nil
}

// OpenOn is [Open] over a connection on which [Status] or [Install] has just found the schema to be as it should be. The connection is
// the store's from then on; others are made by connect.
func OpenOn(conn *pgx.Conn, connect backfill.Connect, opts Options) *Store {
	opts = opts.withDefaults()
	return &Store{
		version: opts.Version, who: opts.Who, host: opts.Host, pid: opts.PID, process: opts.Process,
		patience: opts.Patience, cancelPatience: opts.CancelPatience, link: newLink(connect, conn, opts.ReadOnly),
	}
}

func (s *Store) once(ctx context.Context, settings pgsql.Statement, steps ...step) error {
	return s.link.once(ctx, s.patience, settings, steps...)
}

func (s *Store) transact(ctx context.Context, settings pgsql.Statement, work func(*tx) error) error {
	return s.link.transact(ctx, s.patience, settings, work)
}

// Close ends the store's connection.
func (s *Store) Close(ctx context.Context) error { return s.link.close(ctx) }

// Detach takes the store's connection out of it, for who goes on with it; nil is that there is none that could be gone on with. The store
// makes itself another where it is used again.
func (s *Store) Detach() *pgx.Conn { return s.link.detach() }

// Process is the name under which this process is known to the others.
func (s *Store) Process() string { return s.process }

// Create makes a run of the plan, with its segments, in one transaction. Where an unfinished run
// of the same job is there, also one that another process makes at this instant, it returns that
// one and false: this process joins it, after [Compare] found nothing different.
func (s *Store) Create(ctx context.Context, plan *backfill.Plan) (run *Run, created bool, err error) {
	return s.createAfter(ctx, plan, nil)
}

// Begin is all that a program needs to begin with a plan, or to go on: it makes a run as [Store.Create] does, and where there
// is an unfinished one of the same job, it is compared ([Compare], [Changed]) and the plan is made to go on as that one
// began. What the job keeps for its undo is set up. The work itself is [backfill.Work] of [Run.Part].
func (s *Store) Begin(ctx context.Context, plan *backfill.Plan) (run *Run, resumed bool, err error) {
	run, created, err := s.Create(ctx, plan)
	if err != nil {
		return nil, false, err
	}
	if !created {
		info, err := s.Find(ctx, plan.Job.Name)
		if err == nil {
			err = Changed(info, Compare(info, plan, s.version))
		}
		if err != nil {
			return nil, false, err
		}
		info.Resume(plan)
		run = s.Attach(info)
	}
	if !plan.Pending { // else what is to be kept is known after prepare
		err = run.Capture(ctx, plan.CapturesOf(run.ID()))
	}
	return run, !created, err
}

// CreateAfter is [Store.Create] for a process that has looked before and found the newest run of the
// job to be newest, and over; 0 where it found none. Where another one was made since, and has ended
// already, nothing is made and the error is [ErrOvertaken]: what was decided from what was seen is to
// be decided again, or two processes that are started at once would both make a run, one after the other.
func (s *Store) CreateAfter(ctx context.Context, plan *backfill.Plan, newest backfill.RunID) (run *Run, created bool, err error) {
	return s.createAfter(ctx, plan, &newest)
}

// ErrOvertaken says that another process has made a run of the same job in the meantime.
var ErrOvertaken = errors.New("another process has made a run of this job in the meantime")

func (s *Store) createAfter(ctx context.Context, plan *backfill.Plan, newest *backfill.RunID) (run *Run, created bool, err error) {
	for i, segment := range plan.Segments {
		if segment.No != i+1 || segment.Pass != backfill.PassWalk {
			return nil, false, fmt.Errorf("the plan's segment %d is numbered %d and in the %s: expected %d in the %s",
				i+1, segment.No, segment.Pass, i+1, backfill.PassWalk)
		}
	}
	insert, err := s.insertRun(plan)
	if err != nil {
		return nil, false, err
	}
	for {
		id, created, err := s.create(ctx, plan, insert, newest)
		if err != nil {
			return nil, false, fmt.Errorf("making a run of %s: %w", plan.Job.Name, translate(err))
		}
		if id != 0 {
			return &Run{store: s, id: id, job: plan.Job.Name, created: created}, true, nil
		}
		info, err := s.Find(ctx, plan.Job.Name)
		if err == nil {
			return s.Attach(info), false, nil
		}
		if !errors.Is(err, backfill.ErrNotFound) { // else it has ended since
			return nil, false, err
		}
	}
}

// create returns the new run's number, or 0 where there is an unfinished one.
func (s *Store) create(ctx context.Context, plan *backfill.Plan, insert pgsql.Statement, newest *backfill.RunID) (id backfill.RunID, created time.Time, err error) {
	err = s.transact(ctx, settings, func(t *tx) error {
		id = 0
		var undoing int64
		made := func(rows pgx.Rows) error { return rows.Scan(&id, &created) }
		if err := t.send(step{Statement: insert, read: made}, step{Statement: s.undoing(plan.Job.Name), read: one(&undoing)}); err != nil || id == 0 {
			return err
		}
		if undoing > 0 { // begun since we looked
			return ErrOvertaken
		}
		run := &Run{store: s, id: id, job: plan.Job.Name, created: created}
		var steps []step
		for _, segment := range plan.Segments {
			if !plan.Pending { // else they are planned again
				steps = append(steps, step{Statement: run.newSegment(segment, backfill.PassWalk)})
			}
		}
		detail, err := jsonParam(map[string]any{"segments": len(plan.Segments), "process": s.process})
		if err != nil {
			return err
		}
		steps = append(steps, step{Statement: run.event("created", detail)})
		if newest == nil {
			return t.end(steps...)
		}
		// Once our row is there no other can be: whoever made one before us has committed it.
		var other backfill.RunID
		if err := t.send(append(steps, step{Statement: run.otherRuns(), read: one(&other)})...); err != nil {
			return err
		}
		if other != *newest {
			return ErrOvertaken
		}
		return nil
	})
	return id, created, err
}

// undoing counts a job's runs that are being taken back.
func (s *Store) undoing(job string) pgsql.Statement {
	return pgsql.Statement{Name: "undoing", SQL: countUndoing, Args: [][]byte{pgsql.Text(job)}}
}

func (r *Run) otherRuns() pgsql.Statement {
	return pgsql.Statement{Name: "other runs", SQL: newestOther, Args: [][]byte{pgsql.Text(r.job), pgsql.Int(r.id)}}
}

func (s *Store) insertRun(plan *backfill.Plan) (pgsql.Statement, error) {
	spec, err := jsonParam(plan.Job)
	if err != nil {
		return pgsql.Statement{}, err
	}
	table, err := tableOf(plan)
	if err != nil {
		return pgsql.Statement{}, err
	}
	params, err := jsonParam(paramsOf(plan))
	if err != nil {
		return pgsql.Statement{}, err
	}
	return pgsql.Statement{Name: "run", SQL: insertRun, Args: [][]byte{
		pgsql.Text(plan.Job.Name), spec, pgsql.Text(plan.Job.Hash()), table[0], table[1],
		table[2], table[3], pgsql.Int(backfill.PassWalk), table[4], pgsql.Text(s.version), pgsql.Text(s.who), params,
	}}, nil
}

func tableText(t backfill.TableName) string {
	if t.Schema == "" {
		return t.Name
	}
	return t.Schema + "." + t.Name
}

// Attach is this process's part in a run that was found.
func (s *Store) Attach(info RunInfo) *Run {
	return &Run{store: s, id: info.ID, job: info.Job, created: info.CreatedAt}
}

// SetDesired asks the run of a job for something: its unfinished one, or the one that is being taken back from what it
// kept ([Store.Steered]). Its processes follow within about a second. why may be empty. A run that was asked to be
// cancelled is not asked for anything else, and an undo not to be cancelled.
// The error is a [backfill.ErrNotFound] where the job has no such run.
func (s *Store) SetDesired(ctx context.Context, job string, desired backfill.Desired, who, why string) (RunInfo, error) {
	reason := map[backfill.Desired]string{
		backfill.DesiredRunning: "resumed", backfill.DesiredPaused: "paused", backfill.DesiredCancelled: "cancelled",
	}[desired]
	if reason == "" {
		return RunInfo{}, fmt.Errorf("a run cannot be asked to be %q", desired)
	}
	detail, err := jsonParam(map[string]any{"why": why})
	if err != nil {
		return RunInfo{}, err
	}
	event := reason + " asked for"
	if who != "" {
		reason += " by " + who
	}
	if why != "" {
		reason += ": " + why
	}
	return s.change(ctx, job, who, event, detail, func(run *Run, row runRow) (pgsql.Statement, error) {
		switch {
		case row.undoing != "" && desired == backfill.DesiredCancelled:
			return pgsql.Statement{}, &backfill.Error{
				Place: run.place(), Found: "it is being taken back, and a part of that is neither the one state nor the other",
				Remedy: "let it end, or stop it for a time: pgbackfill pause " + job, Kind: backfill.ErrInput,
			}
		case row.undoing == "" && row.desired == backfill.DesiredCancelled && desired != backfill.DesiredCancelled:
			return pgsql.Statement{}, &backfill.Error{
				Place: run.place(), Found: "somebody asked for it to be cancelled",
				Remedy: "cancel it (pgbackfill cancel " + job + ") and start a new run", Kind: backfill.ErrCancelled,
			}
		}
		return run.desire(desired, reason), nil
	})
}

// SetOverrides changes the pace of a run while it goes on, or is taken back ([Store.Steered]). Fields of delta
// at zero stay as they were.
// The error is a [backfill.ErrNotFound] where the job has no such run.
func (s *Store) SetOverrides(ctx context.Context, job string, delta backfill.Pace, who string) (RunInfo, error) {
	text, err := jsonParam(delta)
	if err != nil {
		return RunInfo{}, err
	}
	return s.change(ctx, job, who, "limits changed", text, func(run *Run, _ runRow) (pgsql.Statement, error) {
		return pgsql.Statement{Name: "overrides", SQL: updateOverrides, Args: [][]byte{pgsql.Int(run.id), text}}, nil
	})
}

// change does one thing to the run of a job that is at work and writes down who did.
func (s *Store) change(ctx context.Context, job, who, what string, detail []byte,
	statement func(*Run, runRow) (pgsql.Statement, error),
) (RunInfo, error) {
	info, err := s.Steered(ctx, job)
	if err != nil {
		return RunInfo{}, err
	}
	run := s.Attach(info)
	err = s.transact(ctx, settings, func(t *tx) error {
		row, err := run.lock(t)
		if err != nil {
			return err
		}
		if row.state.Over() && row.undoing != "capture" {
			return run.over(row)
		}
		st, err := statement(run, row)
		if err != nil {
			return err
		}
		return t.end(step{Statement: st}, step{Statement: event(info.ID, orUnknown(who), what, detail)})
	})
	if err != nil {
		return RunInfo{}, run.failed(what, err)
	}
	return s.Newest(ctx, job)
}

func orUnknown(who string) string {
	if who == "" {
		return "unknown"
	}
	return who
}

// EventRow is one thing that happened to a run.
type EventRow struct {
	At     time.Time       `json:"at"`
	Who    string          `json:"who"`
	What   string          `json:"what"`
	Detail json.RawMessage `json:"detail"`
}

// Events returns what happened to a run, in order.
func (s *Store) Events(ctx context.Context, id backfill.RunID) ([]EventRow, error) {
	var list []EventRow
	err := s.once(ctx, settings, step{
		Statement: pgsql.Statement{Name: "events", SQL: readEvents, Args: [][]byte{pgsql.Int(id)}},
		read: func(rows pgx.Rows) error {
			var e EventRow
			var detail []byte
			if err := rows.Scan(&e.At, &e.Who, &e.What, &detail); err != nil {
				return err
			}
			e.Detail = detail
			list = append(list, e)
			return nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("reading the events of run %d: %w", id, translate(err))
	}
	return list, nil
}
