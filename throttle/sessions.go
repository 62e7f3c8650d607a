package throttle

import (
	"context"
	"fmt"
	"strconv"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// activeSessions are the sessions that are at work and are not ours.
type activeSessions struct {
	query  Querier
	limits func() Limits
}

func (activeSessions) Name() string { return "active_sessions" }
func (activeSessions) Class() Class { return Gradual }

func (s activeSessions) Read(ctx context.Context) (Reading, error) {
	l := s.limits()
	if l.SessionsMax <= 0 {
		return Reading{Off: true, Note: "sessions.max is off"}, nil
	}
	rows, err := s.query.Query(ctx, pgsql.ActiveSessions())
	if err != nil {
		return Reading{}, err
	}
	hidden, err := strconv.ParseInt(text(cell(rows, 0, 1)), 10, 64)
	if err != nil {
		return Reading{}, fmt.Errorf("the number of sessions that are not seen: %w", err)
	}
	note := ""
	if hidden > 0 {
		if l.Unmonitored != Accept {
			return Reading{}, noPrivilege(text(cell(rows, 0, 2)), "whether "+plural(hidden, "other session is", "other sessions are")+" at work")
		}
		note = plural(hidden, "session is", "sessions are") + unmonitored
	}
	active, err := strconv.ParseFloat(text(cell(rows, 0, 0)), 64)
	if err != nil {
		return Reading{}, fmt.Errorf("the number of active sessions: %w", err)
	}
	return Reading{Value: active, Limit: float64(l.SessionsMax), Unit: Number, Note: note}, nil
}
