// Package pgerr says what to do about an error that came from PostgreSQL or from the way to it.
package pgerr

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Action is what to do about an error.
type Action int

const (
	// None is the action for no error at all.
	None Action = iota
	// Retry is for what passes: a lock not had in time, a deadlock, a lost connection, a server that restarts or
	// fails over. Try the same again in a fresh transaction, on a new connection where the old one is closed.
	Retry
	// Shrink is for a statement that took too long, or that somebody cancelled to be rid of it: do less at a time.
	// A cancel request of our own looks the same to the server ([CodeQueryCanceled]); who sent one knows it.
	Shrink
	// Data is for an error that a row causes, and will cause again: a constraint, a cast, a division.
	Data
	// Resource is for a server that has run out of disk or memory, or cannot read it: wait, then try again.
	Resource
	// Fatal is for what no second attempt makes better: syntax, a missing column, a missing privilege, a wrong password.
	// It is also the action for an error that is not known here.
	Fatal
	// Stop is for work given up because our own context was cancelled.
	Stop
)

func (a Action) String() string {
	switch a {
	case None:
		return "none"
	case Retry:
		return "retry"
	case Shrink:
		return "shrink"
	case Data:
		return "data"
	case Resource:
		return "resource"
	case Fatal:
		return "fatal"
	case Stop:
		return "stop"
	}
	return "unknown"
}

// Class says what to do about err. An error of the server's decides by its SQLSTATE; it decides before anything
// that wraps it does.
func Class(err error) Action {
	if err == nil {
		return None
	}
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return classServer(server)
	}
	return classClient(err)
}

// Code is the SQLSTATE of err, or "" where the server did not say one.
func Code(err error) string {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return server.Code
	}
	return ""
}

// Demoted reports whether err says that the server takes no writes: it is a standby, or became one. Its connections
// stay open, so the way to the primary is to close them and connect again.
func Demoted(err error) bool {
	var server *pgconn.PgError
	return errors.As(err, &server) && demoted(server)
}

// classClient is for errors that the server did not send: the network's, the driver's and our own.
func classClient(err error) Action {
	if errors.Is(err, context.Canceled) {
		return Stop
	}
	var parse *pgconn.ParseConfigError
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &parse) || errors.As(err, &certificate) {
		return Fatal
	}
	if lost(err) {
		return Retry
	}
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) || pgconn.SafeToRetry(err) {
		return Retry // not reached, or found to be a standby: nothing was sent
	}
	return Fatal
}

// lost reports whether err says that the connection is gone, or was not to be had in time.
func lost(err error) bool {
	for _, is := range []error{
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, pgconn.ErrConnClosed, pgx.ErrTxClosed, context.DeadlineExceeded,
		syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.ECONNABORTED, syscall.EPIPE, syscall.ETIMEDOUT,
	} {
		if errors.Is(err, is) {
			return true
		}
	}
	var network net.Error
	return errors.As(err, &network)
}

// Describe is err on one line, for people: its SQLSTATE and the condition's name, the message, the detail and the
// hint; without a detail that is a whole row. An error that the server did not send is its own text.
func Describe(err error) string {
	if err == nil {
		return ""
	}
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return oneLine(err.Error())
	}
	text := "SQLSTATE " + server.Code
	if name := conditions[server.Code]; name != "" {
		text += " (" + name + ")"
	}
	text += ": " + server.Message
	// NOT NULL and CHECK have the whole failing row for a detail: too much for a log, and not ours to show.
	if server.Detail != "" && server.Code != "23502" && server.Code != "23514" {
		text += "; detail: " + server.Detail
	}
	if server.Hint != "" {
		text += "; hint: " + server.Hint
	}
	return oneLine(text)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
