package pgerr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func TestClassOfSQLSTATE(t *testing.T) {
	t.Parallel()
	want := map[Action][]string{
		Retry: {
			"55P03", "40P01", "40001", "40003", "08000", "08003", "08006", "08P01", "57P01", "57P02", "57P03", "57P05",
			"53300", "25006", "25P02", "25P03", "26000", "42P05", "55006", "HV00N",
		},
		Shrink: {"57014", "25P04"},
		Data: {
			"22001", "22003", "22012", "22P02", "23502", "23503", "23505", "23514", "23P01", "P0001", "P0002", "P0004",
			"2F005", "38000", "39004", "21000", "44000", "54000", "54001", "40002",
		},
		Resource: {"53100", "53200", "53000", "58030"},
		Fatal: {
			"42601", "42703", "42P01", "42501", "42804", "42883", "28P01", "28000", "3D000", "3F000", "0A000", "55000",
			"57P04", "XX000", "XX001", "XX002", "F0000", "HV000", "", "bad",
		},
	}
	for action, codes := range want {
		for _, code := range codes {
			err := fmt.Errorf("running a chunk: %w", &pgconn.PgError{Code: code})
			if got := Class(err); got != action {
				t.Errorf("SQLSTATE %q is %s, want %s", code, got, action)
			}
			if got := Code(err); got != code {
				t.Errorf("Code is %q, want %q", got, code)
			}
		}
	}
}

// What depends on more than the SQLSTATE must not depend on the language of the server's messages.
func TestClassOfRoutine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code, routine string
		want          Action
	}{
		{"0A000", "RevalidateCachedQuery", Retry},
		{"0A000", "transformLockingClause", Fatal},
		{"0A000", "call_bool_check_hook", Retry}, // BEGIN READ WRITE on a standby
		{"XX000", "simple_heap_update", Retry},
		{"XX000", "SearchSysCache", Fatal},
	} {
		err := &pgconn.PgError{Code: c.code, Routine: c.routine, Message: "una cosa"}
		if got := Class(err); got != c.want {
			t.Errorf("%s in %s is %s, want %s", c.code, c.routine, got, c.want)
		}
	}
}

func TestClassOfClientErrors(t *testing.T) {
	t.Parallel()
	_, parse := pgx.ParseConfig("postgres://localhost:notaport/x")
	if parse == nil {
		t.Fatal("a wrong connection string was accepted")
	}
	for _, c := range []struct {
		name string
		err  error
		want Action
	}{
		{"nothing", nil, None},
		{"end of file", fmt.Errorf("receive: %w", io.EOF), Retry},
		{"half a message", io.ErrUnexpectedEOF, Retry},
		{"reset", &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, Retry},
		{"broken pipe", syscall.EPIPE, Retry},
		{"closed socket", net.ErrClosed, Retry},
		{"closed connection", fmt.Errorf("begin: %w", pgconn.ErrConnClosed), Retry},
		{"name not found", &net.DNSError{Err: "no such host", Name: "db"}, Retry},
		{"too late", context.DeadlineExceeded, Retry},
		{"closed transaction", pgx.ErrTxClosed, Retry},
		{"our own cancel", fmt.Errorf("chunk: %w", context.Canceled), Stop},
		{"wrong connection string", parse, Fatal},
		{"anything else", errors.New("odd"), Fatal},
	} {
		if got := Class(c.err); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// A server that is down is worth another try, as a driver's real error.
func TestClassOfRefusedConnection(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = pgx.Connect(ctx, "postgres://user:secretword@"+addr+"/db?sslmode=disable")
	if got := Class(err); got != Retry {
		t.Errorf("%v is %s, want %s", err, got, Retry)
	}
	if text := Describe(err); strings.Contains(text, "secretword") || strings.Contains(text, "\n") {
		t.Errorf("Describe gives %q: it must be one line without the password", text)
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{errors.New("odd\n  thing"), "odd thing"},
		{&pgconn.PgError{Code: "22012", Message: "division by zero"}, "SQLSTATE 22012 (division_by_zero): division by zero"},
		{
			fmt.Errorf("chunk 3: %w", &pgconn.PgError{Code: "ZZ001", Message: "no\nway", Detail: "Key (id)=(1).", Hint: "Try."}),
			"SQLSTATE ZZ001: no way; detail: Key (id)=(1).; hint: Try.",
		},
	} {
		if got := Describe(c.err); got != c.want {
			t.Errorf("Describe(%v) = %q, want %q", c.err, got, c.want)
		}
	}
}

func TestActionNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for a := None; a <= Stop; a++ {
		if name := a.String(); name == "unknown" || seen[name] {
			t.Errorf("action %d has the name %q", a, name)
		} else {
			seen[name] = true
		}
	}
}
