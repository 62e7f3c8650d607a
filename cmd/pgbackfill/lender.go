package main

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// lentFor is how long a connection may lie idle and still be gone on with: in no more than that a server does not become another one, and
// no firewall forgets it, though a person may take an hour to answer a question.
const lentFor = 5 * time.Second

// lender keeps the connection of one step of a command for the next: a new one costs round trips of the way to the server, and the
// server a process that knows nothing of its catalogue. Nothing may be left in a session that is given back.
type lender struct {
	mu    sync.Mutex
	idle  *pgx.Conn
	since time.Time
}

// borrow is a connection of connect's: the one that was given back, or a new one.
func (l *lender) borrow(ctx context.Context, connect backfill.Connect) (*pgx.Conn, error) {
	l.mu.Lock()
	conn, since := l.idle, l.since
	l.idle = nil
	l.mu.Unlock()
	if conn != nil && !conn.IsClosed() && time.Since(since) < lentFor {
		return conn, nil
	}
	closed(ctx, conn)
	return connect(ctx)
}

// give takes a connection back; nil is none. One in a transaction is closed.
func (l *lender) give(ctx context.Context, conn *pgx.Conn) {
	if conn == nil || conn.IsClosed() {
		return
	}
	if conn.PgConn().TxStatus() == 'I' && ctx.Err() == nil {
		l.mu.Lock()
		conn, l.idle, l.since = l.idle, conn, time.Now()
		l.mu.Unlock()
	}
	closed(ctx, conn)
}

// close closes the connection that nobody goes on with.
func (l *lender) close(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	closed(ctx, l.idle)
	l.idle = nil
}

// closed closes a connection where there is one.
func closed(ctx context.Context, conn *pgx.Conn) {
	if conn != nil {
		_ = conn.Close(context.WithoutCancel(ctx)) // what it was for is done, or has failed already
	}
}

// borrow is a connection for one step of a command. Where the command lends it is one of the same server: see [app.lend].
func (a *app) borrow(ctx context.Context, connect backfill.Connect) (*pgx.Conn, error) {
	if a.lend == nil {
		return connect(ctx)
	}
	return a.lend.borrow(ctx, connect)
}

// give ends what [app.borrow] began.
func (a *app) give(ctx context.Context, conn *pgx.Conn) {
	if a.lend == nil {
		closed(ctx, conn)
		return
	}
	a.lend.give(ctx, conn)
}
