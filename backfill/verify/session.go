package verify

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// session is a connection that reads, one transaction at a time. It is made again when it was lost.
type session struct {
	connect backfill.Connect
	conn    *pgx.Conn
	// limits are the settings that every transaction makes for itself, pins those that the job's SQL is read under.
	limits, pins []pgsql.Setting
	// snapshot is the moment that all transactions see; "" is each its own.
	snapshot string
	// id is the worker's, and computers are what it has that runs transforms again.
	id        int
	computers map[*backfill.Recompute]*backfill.Recomputer
	// others are the sessions that stand beside it: in other databases, and "" one here.
	others map[string]*session
}

func newSession(o Options) *session {
	p := o.Plan.Pace
	name := "pgbackfill " + o.Plan.Job.Name
	idle := p.IdleTimeout
	if idle > 0 && slices.ContainsFunc(o.Checks, func(c Check) bool { return c.Kind == KindRecompute }) {
		idle += p.TransformTimeout
	}
	limits := pgsql.Limits{Lock: p.LockTimeout, Statement: p.StatementTimeout, Idle: idle}.Settings()
	pins := pgsql.JobPins(o.Plan.SearchPath, o.Plan.Job.Settings)
	// Whatever the job says: rows that a policy hides are an error, or they would be missing without a word.
	pins = append(slices.DeleteFunc(pins, func(s pgsql.Setting) bool { return s.Name == "row_security" }), pgsql.Setting{Name: "row_security", Value: "off"})
	return &session{
		connect: o.Connect, pins: pins,
		limits: append(limits, pgsql.Setting{Name: "application_name", Value: name[:min(len(name), 63-len(" verify"))] + " verify"}),
	}
}

// keys calls f in a transaction that looks for keys, under the engine's own settings.
func (s *session) keys(ctx context.Context, f func(*reading) error) error {
	return s.read(ctx, pgsql.SetLocal(slices.Concat(pgsql.KeyPins(), s.limits)...), f)
}

// job calls f in a transaction that reads the job's SQL. How rows are to be found is the check's to say, and the
// job's own settings stand above it.
func (s *session) job(ctx context.Context, finding []pgsql.Setting, f func(*reading) error) error {
	// Workers are what is said, not what the server adds to each of them.
	first := append([]pgsql.Setting{{Name: "max_parallel_workers_per_gather", Value: "0"}}, finding...)
	return s.read(ctx, pgsql.SetLocal(slices.Concat(first, s.pins, s.limits)...), f)
}

// write calls f in a transaction that may change rows under the job's SQL, and commits it with apply; an error of f's undoes it.
func (s *session) write(ctx context.Context, apply bool, finding []pgsql.Setting, f func(*reading) error) error {
	settings := pgsql.SetLocal(slices.Concat(finding, s.pins, s.limits)...)
	return s.within(ctx, []pgsql.Statement{pgsql.Begin, settings}, func(r *reading) error {
		if err := f(r); err != nil || !apply {
			return err
		}
		result := r.conn.ExecParams(ctx, pgsql.Commit.SQL, nil, nil, nil, nil).Read()
		if result.Err == nil && result.CommandTag.String() != "COMMIT" { // a failed transaction is ended without an error
			return fmt.Errorf("COMMIT was answered with %s", result.CommandTag)
		}
		return result.Err
	})
}

func (s *session) read(ctx context.Context, settings pgsql.Statement, f func(*reading) error) error {
	around := []pgsql.Statement{pgsql.BeginReading, settings}
	if s.snapshot != "" {
		around = slices.Insert(around, 1, pgsql.SetSnapshot(s.snapshot))
	}
	return s.within(ctx, around, f)
}

// within calls f in a transaction that begins with some statements.
func (s *session) within(ctx context.Context, around []pgsql.Statement, f func(*reading) error) error {
	if s.conn == nil || s.conn.IsClosed() {
		conn, err := s.connect(ctx)
		if err != nil {
			return err
		}
		s.conn = conn
	}
	r := &reading{conn: s.conn.PgConn(), session: s}
	defer s.end(context.WithoutCancel(ctx), r.conn)
	for _, st := range around {
		if _, err := r.ask(ctx, st); err != nil {
			return err
		}
	}
	return f(r)
}

// hold opens a transaction whose moment others can read, and keeps it open, and the table from being rewritten, until
// the session is closed.
func (s *session) hold(ctx context.Context, walk pgsql.Walk) (snapshot string, err error) {
	if s.conn, err = s.connect(ctx); err != nil {
		return "", err
	}
	r := &reading{conn: s.conn.PgConn()}
	// It says nothing for as long as the others read.
	waits := pgsql.SetLocal(append(slices.Clone(s.limits), pgsql.Setting{Name: "idle_in_transaction_session_timeout", Value: "0"})...)
	for _, st := range []pgsql.Statement{pgsql.BeginReading, waits, walk.Keep()} {
		if _, err := r.ask(ctx, st); err != nil {
			return "", err
		}
	}
	rows, err := r.ask(ctx, pgsql.ExportSnapshot)
	if err != nil {
		return "", err
	}
	return *rows[0][0], nil
}

// end leaves no transaction open on the connection, or no connection.
func (s *session) end(ctx context.Context, conn *pgconn.PgConn) {
	if conn.IsClosed() || conn.TxStatus() == 'I' {
		return
	}
	if _, err := (&reading{conn: conn}).ask(ctx, pgsql.Rollback); err != nil {
		_ = conn.Close(ctx) // what it was for is done, or has failed already
	}
}

// computer is what the session's worker has that runs a transform again.
func (s *session) computer(r *backfill.Recompute) *backfill.Recomputer {
	if s.computers[r] == nil {
		if s.computers == nil {
			s.computers = map[*backfill.Recompute]*backfill.Recomputer{}
		}
		s.computers[r] = r.Reader(s.id)
	}
	return s.computers[r]
}

// other is a session of the same settings over other connections.
func (s *session) other(name string, connect backfill.Connect, o Options) *session {
	if s.others[name] == nil {
		if s.others == nil {
			s.others = map[string]*session{}
		}
		o.Connect = connect
		s.others[name] = newSession(o)
	}
	return s.others[name]
}

func (s *session) close(ctx context.Context) {
	for _, o := range s.others {
		o.close(ctx)
	}
	for _, c := range s.computers {
		c.Close()
	}
	if s.conn != nil {
		_ = s.conn.Close(context.WithoutCancel(ctx)) // nothing is left to be said on it
	}
}

// reading is a transaction that sees one moment.
type reading struct {
	conn    *pgconn.PgConn
	session *session
	// divisible is set where fewer rows could be read at a time, and computed is what a transform made of those that were.
	divisible bool
	computed  *backfill.Recomputed
	// distant are the rows that a comparison with another database found to be wrong.
	distant []Mismatch
}

// ask returns the rows of the answer in PostgreSQL's text form; nil is NULL. The statement is parsed where it stands,
// under the settings made before it.
func (r *reading) ask(ctx context.Context, st pgsql.Statement) ([][]*string, error) {
	result := r.conn.ExecParams(ctx, st.SQL, st.Args, nil, nil, nil).Read()
	if result.Err != nil {
		return nil, result.Err
	}
	rows := make([][]*string, len(result.Rows))
	for i, values := range result.Rows {
		rows[i] = make([]*string, len(values))
		for j, v := range values {
			if v != nil {
				text := string(v)
				rows[i][j] = &text
			}
		}
	}
	return rows, nil
}

// prepared lets the server read a statement, and returns what its columns are.
func (r *reading) prepared(ctx context.Context, st pgsql.Statement) ([]pgconn.FieldDescription, error) {
	d, err := r.conn.Prepare(ctx, "", st.SQL, nil)
	if err != nil {
		return nil, err
	}
	return d.Fields, nil
}

// described prints a server's error with its SQLSTATE, detail and hint.
type described struct{ err error }

func (e described) Error() string { return pgerr.Describe(e.err) }
func (e described) Unwrap() error { return e.err }

// integers reads a row of counts.
func integers(rows [][]*string, dst ...*int64) error {
	if len(rows) != 1 || len(rows[0]) != len(dst) {
		return fmt.Errorf("unexpected answer from the server: %d rows", len(rows))
	}
	for i, text := range rows[0] {
		if text == nil {
			return fmt.Errorf("unexpected answer from the server: NULL for a count")
		}
		if _, err := fmt.Sscan(*text, dst[i]); err != nil {
			return fmt.Errorf("unexpected answer from the server: %w", err)
		}
	}
	return nil
}
