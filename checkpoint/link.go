package checkpoint

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// A connection that was lost, or a lock that was not had, is tried again after firstBackoff,
// then after twice as long each time and at most lastBackoff.
const (
	firstBackoff = 50 * time.Millisecond
	lastBackoff  = 2 * time.Second
)

// link is the store's one connection. It is made when it is needed and made again when it was lost.
type link struct {
	connect backfill.Connect
	// turn holds one token; who has taken it may use conn.
	turn chan struct{}
	conn *pgx.Conn
	// begin begins each transaction.
	begin pgsql.Statement
}

func newLink(connect backfill.Connect, conn *pgx.Conn, readOnly bool) *link {
	l := &link{connect: connect, turn: make(chan struct{}, 1), conn: conn, begin: pgsql.Begin}
	if readOnly {
		l.begin = pgsql.BeginReading
	}
	l.turn <- struct{}{}
	return l
}

// do calls work with the connection, again where trouble passes that is met within patience:
// on a fresh connection where the old one was lost. So work must come to the same where it was
// done before and only its answer was lost.
func (l *link) do(ctx context.Context, patience time.Duration, work func(*pgx.Conn) error) error {
	select {
	case <-l.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { l.turn <- struct{}{} }()
	deadline := time.Now().Add(patience)
	for backoff := firstBackoff; ; backoff = min(2*backoff, lastBackoff) {
		err := l.try(ctx, work)
		if err == nil || ctx.Err() != nil || pgerr.Class(err) != pgerr.Retry || time.Now().Add(backoff).After(deadline) {
			return err
		}
		jittered := time.NewTimer(backoff/2 + rand.N(backoff))
		select {
		case <-jittered.C:
		case <-ctx.Done():
			jittered.Stop()
			return err
		}
	}
}

func (l *link) try(ctx context.Context, work func(*pgx.Conn) error) error {
	if l.conn == nil || l.conn.IsClosed() {
		conn, err := l.connect(ctx)
		if err != nil {
			return err
		}
		l.conn = conn
	}
	err := work(l.conn)
	if err != nil {
		settle(ctx, l.conn, err)
	}
	return err
}

// settle leaves conn outside of any transaction, or closed.
func settle(ctx context.Context, conn *pgx.Conn, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if pgerr.Demoted(err) { // the primary is found by connecting again
		_ = conn.Close(ctx)
		return
	}
	if !conn.IsClosed() && conn.PgConn().TxStatus() != 'I' {
		if send(ctx, conn, step{Statement: pgsql.Rollback}) != nil {
			_ = conn.Close(ctx)
		}
	}
}

// close ends the connection; a later call of do makes another.
func (l *link) close(ctx context.Context) error {
	select {
	case <-l.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { l.turn <- struct{}{} }()
	if l.conn == nil || l.conn.IsClosed() {
		return nil
	}
	return l.conn.Close(ctx)
}

// detach takes the connection out of the link, where it is idle.
func (l *link) detach() *pgx.Conn {
	<-l.turn
	defer func() { l.turn <- struct{}{} }()
	conn := l.conn
	l.conn = nil
	if conn == nil || conn.IsClosed() || conn.PgConn().TxStatus() != 'I' {
		return nil
	}
	return conn
}

// once sends one statement, or some, as a transaction of their own, all in one round trip.
func (l *link) once(ctx context.Context, patience time.Duration, settings pgsql.Statement, steps ...step) error {
	steps = append(append([]step{{Statement: l.begin}, {Statement: settings}}, steps...), commit())
	return l.do(ctx, patience, func(conn *pgx.Conn) error { return send(ctx, conn, steps...) })
}

// transact runs work in a transaction and commits it, unless work returns an error.
func (l *link) transact(ctx context.Context, patience time.Duration, settings pgsql.Statement, work func(*tx) error) error {
	return l.do(ctx, patience, func(conn *pgx.Conn) error {
		t := newTx(ctx, conn, l.begin, settings)
		if err := work(t); err != nil {
			return err
		}
		return t.end()
	})
}

// tx is a transaction on the store's connection. What begins it is sent with the first of its statements.
type tx struct {
	ctx  context.Context
	conn *pgx.Conn
	// opening is what begins it; nil once that was sent.
	opening []step
	// ended is set once it is committed.
	ended bool
}

func newTx(ctx context.Context, conn *pgx.Conn, begin, settings pgsql.Statement) *tx {
	return &tx{ctx: ctx, conn: conn, opening: []step{{Statement: begin}, {Statement: settings}}}
}

// send sends statements in one round trip. What need not be known for one of them is read by another of the same: each round trip is
// as long as the way to the server.
func (t *tx) send(steps ...step) error {
	if t.opening != nil {
		steps = append(t.opening, steps...)
	}
	t.opening = nil
	return send(t.ctx, t.conn, steps...)
}

// end sends the last statements and commits, in one round trip: the server commits only where each of them was carried out. What is checked
// here, and not by the server, must be checked before.
func (t *tx) end(steps ...step) error {
	if t.ended || t.opening != nil && len(steps) == 0 {
		return nil
	}
	err := t.send(append(steps, commit())...)
	t.ended = err == nil
	return err
}

// step is a statement and what is done with its answer.
type step struct {
	pgsql.Statement
	// read is called with each row; nil drops them.
	read func(pgx.Rows) error
	// done is called with the command's tag; nil drops it.
	done func(pgconn.CommandTag) error
}

// commit is a COMMIT that knows when it was answered with ROLLBACK: a transaction that had
// failed is ended so, without an error.
func commit() step {
	return step{Statement: pgsql.Commit, done: func(tag pgconn.CommandTag) error {
		if tag.String() != "COMMIT" {
			return fmt.Errorf("COMMIT was answered with %s", tag)
		}
		return nil
	}}
}

// send sends the steps in one round trip and reads their answers. Values go both ways as text
// and no statement is prepared by name.
func send(ctx context.Context, conn *pgx.Conn, steps ...step) error {
	batch := &pgconn.Batch{}
	for _, s := range steps {
		batch.ExecParams(s.SQL, s.Args, nil, nil, nil)
	}
	answers := conn.PgConn().ExecBatch(ctx, batch)
	var failed error
	for _, s := range steps {
		if !answers.NextResult() {
			break
		}
		if err := receive(conn, answers.ResultReader(), s); err != nil {
			failed = err
			break
		}
	}
	closed := answers.Close() // it repeats what reading found
	if failed == nil {
		failed = closed
	}
	return failed
}

func receive(conn *pgx.Conn, answer *pgconn.ResultReader, s step) error {
	rows := pgx.RowsFromResultReader(conn.TypeMap(), answer)
	defer rows.Close()
	for rows.Next() {
		if s.read == nil {
			continue
		}
		if err := s.read(rows); err != nil {
			return err
		}
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return err
	}
	if s.done == nil {
		return nil
	}
	return s.done(rows.CommandTag())
}
