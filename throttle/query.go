package throttle

import (
	"context"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// customQuery is a signal of the operator's: one number against a limit.
type customQuery struct {
	QueryLimit
	query Querier
}

func (s customQuery) Name() string { return s.QueryLimit.Name }

func (s customQuery) Class() Class {
	if s.Gradual {
		return Gradual
	}
	return Gating
}

func (s customQuery) Read(ctx context.Context) (Reading, error) {
	n, err := oneNumber(ctx, s.query, pgsql.Statement{Name: "query", SQL: s.SQL})
	return Reading{Value: n, Limit: s.Max, Unit: Number}, err
}
