package backfill

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/internal/pgerr"
)

// leaveStandby closes the connection where err says that its server takes no writes any more: the
// primary is found by connecting again.
func (w *worker) leaveStandby(ctx context.Context, err error) {
	if pgerr.Demoted(err) {
		w.close(ctx)
	}
}

// reconnect makes the worker a connection, for as long as it takes and the orders let it: nobody calls it with a transaction in hand. What no
// second try makes better, as a wrong password, is returned.
func (w *worker) reconnect(ctx context.Context) error {
	for number := 1; ; number++ {
		if number > 1 { // whoever calls has just asked
			if err := w.mayWork(ctx, w.id); err != nil {
				return err
			}
		}
		err := w.connectOnce(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.As(err, new(*encodingError)) || pgerr.Class(err) == pgerr.Fatal {
			return err
		}
		if w.lost.IsZero() {
			w.lost = time.Now()
		}
		if err := w.wait(ctx, w.backoff(number+2, pgerr.Retry), "no connection: "+pgerr.Describe(err)); err != nil {
			return err
		}
	}
}

// connectOnce makes the worker a connection, where one can be had now.
func (w *worker) connectOnce(ctx context.Context) error {
	connecting, cancel := context.WithTimeout(ctx, w.pace().ConnectTimeout)
	defer cancel()
	conn, err := w.connect(connecting)
	if err != nil {
		return err
	}
	if err := speaksUTF8(conn.PgConn()); err != nil {
		return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
	}
	w.conn = conn
	if !w.lost.IsZero() {
		w.observe(Reconnected{Worker: w.id, After: time.Since(w.lost)})
		w.lost = time.Time{}
	}
	return nil
}

// speaksUTF8 refuses a connection in another encoding than that of the job's text, as a role or a
// database can have set it: other letters than were meant would be stored.
func speaksUTF8(conn *pgconn.PgConn) error {
	encoding := conn.ParameterStatus("client_encoding")
	if encoding == "UTF8" || conn.ParameterStatus("server_encoding") == "SQL_ASCII" {
		return nil
	}
	return &encodingError{&Error{
		Place: "connection", Found: "its client_encoding is " + encoding, Expected: "UTF8",
		Remedy: "add client_encoding=UTF8 to the connection string, or set it for the role: ALTER ROLE … SET client_encoding = 'UTF8'", Kind: ErrInput,
	}}
}

// encodingError is a connection in another encoding, which another try does not change.
type encodingError struct{ err error }

func (e *encodingError) Error() string { return e.err.Error() }
func (e *encodingError) Unwrap() error { return e.err }

// leave lays the worker's connection aside for the next one: a new one must be paid for again, by the
// server most of all, whose process begins without its catalogue and its share of the memory.
func (w *worker) leave(ctx context.Context) {
	if w.conn == nil || w.conn.IsClosed() || ctx.Err() != nil || w.conn.PgConn().TxStatus() != 'I' {
		w.close(ctx)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spare = append(w.spare, w.conn)
}

// spareConn is a connection that was laid aside, or nil. Nothing is known over it: what the ledger says
// is read anew by whoever takes it.
func (e *engine) spareConn() *pgx.Conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	last := len(e.spare) - 1
	if last < 0 {
		return nil
	}
	conn := e.spare[last]
	e.spare = e.spare[:last]
	return conn
}

// closeSpare closes the connections that nobody will take any more.
func (e *engine) closeSpare(ctx context.Context) {
	for conn := e.spareConn(); conn != nil; conn = e.spareConn() {
		(&worker{conn: conn}).close(ctx)
	}
}

// close closes the worker's connection.
func (w *worker) close(ctx context.Context) {
	if w.conn != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = w.conn.Close(ctx)
	}
}
