package throttle

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// wraparoundVacuum shuts the gate while a vacuum against wraparound is at the table: it must get done, and we would
// make more work for it.
type wraparoundVacuum struct {
	query  Querier
	limits func() Limits
	table  uint32
}

func (wraparoundVacuum) Name() string { return "wraparound_vacuum" }
func (wraparoundVacuum) Class() Class { return Gating }

func (s wraparoundVacuum) Read(ctx context.Context) (Reading, error) {
	if s.limits().Vacuum.Wraparound == Ignored {
		return Reading{Off: true, Note: "vacuum.wraparound is ignore"}, nil
	}
	rows, err := s.query.Query(ctx, pgsql.WraparoundVacuum(s.table))
	if err != nil {
		return Reading{}, err
	}
	if len(rows) == 0 {
		return Reading{Says: "none"}, nil
	}
	row := rows[0]
	return Reading{Says: "at work", Shut: true, Detail: fmt.Sprintf("pid %s at %s, %s of %s transactions old", text(row[3]), text(row[0]), text(row[1]), text(row[2]))}, nil
}

// fewDead is how many dead rows are never too many.
const fewDead = 10_000

// deadRows are the table's dead rows over its live ones: with too many, autovacuum is given time.
type deadRows struct {
	query  Querier
	limits func() Limits
	table  uint32
}

func (deadRows) Name() string { return "dead_rows" }
func (deadRows) Class() Class { return Gradual }

func (s deadRows) Read(ctx context.Context) (Reading, error) {
	limit := s.limits().Vacuum.MaxDead
	if limit <= 0 {
		return Reading{Off: true, Note: "vacuum.max_dead is off"}, nil
	}
	rows, err := s.query.Query(ctx, pgsql.DeadRows(s.table))
	if err != nil {
		return Reading{}, err
	}
	dead, err1 := strconv.ParseFloat(text(cell(rows, 0, 0)), 64)
	live, err2 := strconv.ParseFloat(text(cell(rows, 0, 1)), 64)
	if err := errors.Join(err1, err2); err != nil {
		return Reading{}, fmt.Errorf("the table's statistics: %w", err)
	}
	r := Reading{Limit: limit, Unit: Ratio, Detail: fmt.Sprintf("%.0f dead rows, %.0f live ones", dead, live)}
	if dead >= fewDead {
		r.Value = dead / max(live, 1)
	}
	return r, nil
}
