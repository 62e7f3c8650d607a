package contract

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// ask asks one question of the primary, in a transaction of its own that cannot write.
func (g *gate) ask(ctx context.Context, s pgsql.Statement) ([][]string, error) {
	return g.askOn(ctx, g.Conn, s)
}

func (g *gate) askOn(ctx context.Context, conn *pgx.Conn, s pgsql.Statement) ([][]string, error) {
	return carry(ctx, conn, pgsql.BeginGate, pgsql.GatePins(pgsql.Limits{Lock: g.Timeout, Statement: g.Timeout}), s, pgsql.Rollback)
}

// write carries a statement out on the primary.
func (g *gate) write(ctx context.Context, s pgsql.Statement) error {
	_, err := g.writeRows(ctx, s)
	return err
}

func (g *gate) writeRows(ctx context.Context, s pgsql.Statement) ([][]string, error) {
	return carry(ctx, g.Conn, pgsql.Begin, pgsql.GatePins(pgsql.Limits{Lock: g.Timeout, Statement: g.Timeout}), s, pgsql.Commit)
}

// carry sends a statement within others and returns its rows, as text; NULL is "".
func carry(ctx context.Context, conn *pgx.Conn, begin, settings, s, end pgsql.Statement) ([][]string, error) {
	batch := &pgconn.Batch{}
	all := []pgsql.Statement{begin, settings, s, end}
	for _, one := range all {
		batch.ExecParams(one.SQL, one.Args, nil, nil, nil)
	}
	answers := conn.PgConn().ExecBatch(ctx, batch)
	var rows [][]string
	var failed error
	for i := 0; i < len(all) && answers.NextResult(); i++ {
		answer := answers.ResultReader().Read()
		if answer.Err != nil {
			failed = answer.Err
			break
		}
		if i != 2 {
			continue
		}
		for _, row := range answer.Rows {
			texts := make([]string, len(row))
			for j, value := range row {
				texts[j] = string(value)
			}
			rows = append(rows, texts)
		}
	}
	if err := answers.Close(); failed == nil {
		failed = err
	}
	if failed != nil && !conn.IsClosed() && conn.PgConn().TxStatus() != 'I' {
		if _, err := conn.PgConn().Exec(context.WithoutCancel(ctx), pgsql.Rollback.SQL).ReadAll(); err != nil {
			return nil, errors.Join(failed, err)
		}
	}
	return rows, failed
}

// unreadable reports whether a question was refused, so that its answer is unknown, rather than not put at all.
func unreadable(conn *pgx.Conn, err error) (string, bool) {
	var server *pgconn.PgError
	if conn.IsClosed() || !errors.As(err, &server) || pgerr.Class(err) == pgerr.Retry && pgerr.Code(err) != pgerr.CodeQueryCanceled {
		return "", false
	}
	return server.Message + " (SQLSTATE " + server.Code + ")", true
}
