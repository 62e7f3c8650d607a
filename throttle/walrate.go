package throttle

import (
	"context"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// walRate is how much of its log the server writes in a second, whoever makes it.
type walRate struct {
	query  Querier
	limits func() Limits

	at  time.Time // of the reading before; zero is none
	pos position
}

func (*walRate) Name() string { return "wal_rate" }
func (*walRate) Class() Class { return Gradual }

func (s *walRate) Read(ctx context.Context) (Reading, error) {
	limit := s.limits().WALMaxRate
	if limit <= 0 {
		s.at = time.Time{}
		return Reading{Off: true, Note: "wal.max_rate is off"}, nil
	}
	begin := time.Now()
	rows, err := s.query.Query(ctx, pgsql.Position())
	if err != nil {
		return Reading{}, err
	}
	pos, err := place(cell(rows, 0, 0))
	if err != nil {
		return Reading{}, err
	}
	before, from := s.at, s.pos
	s.at, s.pos = begin, pos
	if before.IsZero() || pos < from || !begin.After(before) {
		return Reading{Off: true, Note: "a rate takes two readings"}, nil
	}
	return Reading{Value: float64(pos-from) / begin.Sub(before).Seconds(), Limit: float64(limit), Unit: BytesPerSecond}, nil
}
