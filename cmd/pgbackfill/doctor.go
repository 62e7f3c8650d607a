package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/configs"
	"github.com/pgbackfill/pgbackfill/internal/catalog"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

func (a *app) doctorCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor [FILE]",
		Short: "Says what this role on this server may see and do, and what to grant",
		Long: `doctor looks at the server as the role that it connects as: what stands between, the schema pgbackfill,
the replicas, and each signal of the throttle, whether it works, will not work, or is switched off. With a
job file the limits are those of each job, and it says whether the job can be run.

What will not work has a remedy, with the exact SQL where something is to be granted, and the exit
code is 2. Nothing is written.`,
		Args: args(0, 1, "at most one job file"),
		RunE: func(c *cobra.Command, given []string) error {
			var list []backfill.Job
			if len(given) == 1 {
				var err error
				if list, err = a.read(given[0]); err != nil {
					return err
				}
			}
			d, err := a.diagnose(c.Context(), list)
			if err != nil {
				return err
			}
			if err := a.writeDiagnosis(d); err != nil {
				return err
			}
			if !d.Well {
				return fmt.Errorf("%w: %w", backfill.ErrInput, errSaid)
			}
			return nil
		},
	}
	configs.RunFlags(c.Flags())
	return a.jsonFlag(c)
}

// diagnosis is what doctor found, as it prints it in JSON.
type diagnosis struct {
	// Well is set where nothing was found that will not work.
	Well bool `json:"well"`
	// Address is that of the server, or of what stands between.
	Address string         `json:"address"`
	Server  catalog.Server `json:"server"`
	// Pooler is set where something stands between that answers for the server.
	Pooler   bool           `json:"pooler"`
	Schema   schemaHealth   `json:"schema"`
	Standbys []standbyFound `json:"standbys"`
	// Signals are held against the limits of the configuration; where jobs are asked about, each has its own.
	Signals []signalHealth `json:"signals,omitempty"`
	Jobs    []jobHealth    `json:"jobs,omitempty"`
	// Remedies say what to do about what will not work, each once.
	Remedies []remedy `json:"remedies,omitempty"`
}

// schemaHealth is what there is of the engine's own schema, and what this role may do with it.
type schemaHealth struct {
	checkpoint.Schema
	checkpoint.Access
	Installed bool `json:"installed"`
	// Says is its state in words.
	Says string `json:"says"`
}

// standbyFound is a replica as the primary sees it.
type standbyFound struct {
	Name string `json:"name"`
	// State and Sync are "" where the role may not see them, and LagBytes is -1 then.
	State    string `json:"state,omitempty"`
	Sync     string `json:"sync,omitempty"`
	LagBytes int64  `json:"lag_bytes"`
	// Asked is set where the configuration says that it is asked itself; its signal says how far it is.
	Asked bool `json:"asked,omitempty"`
}

// jobHealth says whether a job can be run.
type jobHealth struct {
	Name string `json:"name"`
	Runs bool   `json:"runs"`
	// Error is why not, in a line; Findings are errors and warnings of its plan.
	Error    string             `json:"error,omitempty"`
	Findings []backfill.Finding `json:"findings,omitempty"`
	Signals  []signalHealth     `json:"signals,omitempty"`
}

// remedy is what to do about something that will not work.
type remedy struct {
	Why string `json:"why"`
	// SQL is to be sent by somebody who may, Text to be done.
	SQL  []string `json:"sql,omitempty"`
	Text string   `json:"text,omitempty"`
}

// fails takes in what will not work, once: several signals may want the same.
func (d *diagnosis) fails(r remedy) {
	if !slices.ContainsFunc(d.Remedies, func(other remedy) bool { return other.Why == r.Why }) {
		d.Remedies = append(d.Remedies, r)
	}
}

// diagnose looks at the server, and at whether the jobs can be run.
func (a *app) diagnose(ctx context.Context, list []backfill.Job) (*diagnosis, error) {
	connect, err := configs.ReadingConnector(a.cfg, func() {}) // that it is a standby is one of the things that are in the way
	if err != nil {
		return nil, err
	}
	d := &diagnosis{Standbys: []standbyFound{}}
	if err := d.look(ctx, connect); err != nil {
		return nil, err
	}
	for _, s := range a.standbys {
		d.Standbys = append(d.Standbys, standbyFound{Name: s.Name, LagBytes: -1, Asked: true})
	}
	if d.Server.InRecovery {
		for _, job := range list {
			d.Jobs = append(d.Jobs, jobHealth{Name: job.Name, Error: notThere})
		}
		return d, nil
	}
	if len(list) == 0 {
		pace, _ := a.cfg.Resolve(backfill.Job{})
		if d.Signals, err = a.signalsOf(ctx, connect, d, pace, 0); err != nil {
			return nil, err
		}
	}
	for _, job := range list {
		health, err := a.jobOf(ctx, connect, d, job)
		if err != nil {
			return nil, err
		}
		d.Jobs = append(d.Jobs, health)
	}
	d.Well = len(d.Remedies) == 0
	return d, nil
}

// notThere is why nothing else is looked at on a standby.
const notThere = "the server is a standby, which cannot be written to"

// look reads the server, the replicas and the schema.
func (d *diagnosis) look(ctx context.Context, connect backfill.Connect) error {
	conn, err := connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	d.Address = net.JoinHostPort(conn.Config().Host, strconv.Itoa(int(conn.Config().Port)))
	activity, err := d.readServer(ctx, conn)
	if err != nil {
		return err
	}
	for _, s := range activity.Standbys {
		d.Standbys = append(d.Standbys, standbyFound{Name: s.Name, State: s.State, Sync: s.Sync, LagBytes: s.Lag})
	}
	d.Pooler = d.Server.BackendPID != conn.PgConn().PID()
	if d.Server.InRecovery {
		d.Schema.Says = "not looked at"
		d.fails(remedy{Why: notThere, Text: "connect to the primary: name its host, or all hosts with target_session_attrs=read-write"})
		return nil
	}
	return d.readSchema(ctx, conn, activity)
}

// readServer reads what does not need the schema, in a transaction that cannot write.
func (d *diagnosis) readServer(ctx context.Context, conn *pgx.Conn) (catalog.Activity, error) {
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
	if err != nil {
		return catalog.Activity{}, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // it has only read
	if d.Server, err = catalog.ReadServer(ctx, tx.Conn()); err != nil {
		return catalog.Activity{}, err
	}
	return catalog.ReadActivity(ctx, tx.Conn(), d.Server, time.Hour)
}

// readSchema looks at the engine's own schema.
func (d *diagnosis) readSchema(ctx context.Context, conn *pgx.Conn, activity catalog.Activity) error {
	s := &d.Schema
	status, problem := checkpoint.Status(ctx, conn)
	access, err := checkpoint.ReadAccess(ctx, conn)
	if err != nil {
		return err
	}
	s.Schema, s.Access, s.Installed = status, access, problem == nil
	role, database := pgsql.Ident(d.Server.Role), pgsql.Ident(d.Server.Database)
	older := errors.Is(problem, backfill.ErrIncompatible) && status.Version < status.Latest
	switch {
	case problem == nil:
		s.Says = fmt.Sprintf("version %d, as this program needs it", status.Version)
	case errors.Is(problem, backfill.ErrNotFound) && (s.Owns || s.Owner == "" && d.Server.MayCreate):
		s.Says = "not installed; run installs it"
	case errors.Is(problem, backfill.ErrNotFound):
		s.Says = "not installed, and this role may not create it"
		d.fails(remedy{
			Why: "the schema pgbackfill is not installed, and role " + d.Server.Role + " may not create it", SQL: []string{"GRANT CREATE ON DATABASE " + database + " TO " + role},
			Text: "or let a role that may run what is printed by: pgbackfill schema sql --runner " + d.Server.Role,
		})
		return nil
	case older && s.Owns:
		s.Says = fmt.Sprintf("version %d; run brings it to version %d", status.Version, status.Latest)
	case older:
		s.Says = fmt.Sprintf("version %d, and this program needs version %d", status.Version, status.Latest)
		d.fails(remedy{Why: "the schema pgbackfill has " + s.Says, Text: "as role " + s.Owner + ", which owns it: pgbackfill schema upgrade"})
	case len(s.Missing) > 0: // what is missing says it
		s.Says = "there; this role may not use it"
	default:
		why, text := apartFromRemedy(problem)
		s.Says = strings.TrimPrefix(firstLine(why), "schema pgbackfill: ")
		d.fails(remedy{Why: why, Text: text})
	}
	if len(s.Missing) > 0 {
		d.fails(remedy{Why: "role " + d.Server.Role + " lacks what running jobs takes of the schema pgbackfill, which " + s.Owner + " owns", SQL: s.Missing})
	}
	if len(activity.AllTables) > 0 && errors.Is(problem, backfill.ErrNotFound) {
		s.Says += "; publication " + strings.Join(activity.AllTables, ", ") + " would publish it: see the finding schema-published of plan"
	}
	return nil
}

// jobOf plans a job, which writes nothing, and reads the signals under its limits.
func (a *app) jobOf(ctx context.Context, connect backfill.Connect, d *diagnosis, job backfill.Job) (jobHealth, error) {
	health := jobHealth{Name: job.Name}
	pace, notes := a.cfg.Resolve(job)
	for _, note := range notes {
		a.note("note", note)
	}
	plan, err := a.plan(ctx, connect, backfill.Planner{}, job, pace)
	if ctx.Err() != nil {
		return health, err
	}
	var table uint32
	if err == nil {
		table = plan.Table.OID
		err = d.planned(&health, plan)
	}
	if err == nil && job.Transform != nil && len(job.Transform.Command) > 0 && !a.cfg.AllowPrograms {
		err = backfill.ProgramsRefused(job)
	}
	if err != nil {
		why, text := apartFromRemedy(err)
		health.Error = firstLine(why)
		d.fails(remedy{Why: job.Name + " cannot be run: " + why, Text: text})
	}
	health.Runs = health.Error == ""
	health.Signals, err = a.signalsOf(ctx, connect, d, pace, table)
	return health, err
}

// ofServer are the findings of a plan that doctor tells of itself.
var ofServer = []string{"no-monitor", "schema-missing"}

// planned takes in what a plan says. The error is why it would be refused for what the job is itself.
func (d *diagnosis) planned(health *jobHealth, plan *backfill.Plan) error {
	var ids []string
	for _, f := range plan.Findings {
		if f.Severity != backfill.SeverityNote {
			health.Findings = append(health.Findings, f)
		}
	}
	of := false
	for _, f := range plan.Blocking() {
		ids = append(ids, f.ID)
		of = of || !slices.Contains(ofServer, f.ID)
	}
	health.Error = strings.Join(ids, ", ")
	if !of {
		return nil
	}
	return &backfill.Error{Found: health.Error, Remedy: "do what its findings above say, or accept one in writing with --accept ID"}
}

// apartFromRemedy is what an error says, and what is to be done about it.
func apartFromRemedy(err error) (why, text string) {
	var e *backfill.Error
	if !errors.As(err, &e) {
		return err.Error(), ""
	}
	return (&backfill.Error{Place: e.Place, Found: e.Found, Err: e.Err, Expected: e.Expected}).Error(), e.Remedy
}

func (a *app) writeDiagnosis(d *diagnosis) error {
	if a.output == "json" {
		enc := json.NewEncoder(a.out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(d)
	}
	out, width := wrapping(a.out), 0
	if w, ok := out.(wrapped); ok {
		width = w.width
	}
	_, err := fmt.Fprint(out, diagnosisText(d, width))
	return err
}
