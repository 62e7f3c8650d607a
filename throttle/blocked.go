package throttle

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Blocked is somebody who waits for a lock that a session of ours holds.
type Blocked struct {
	// Waited is for how long so far; Waiter is the pid of who waits and WaiterName its application_name.
	Waited     time.Duration
	Waiter     int
	WaiterName string
	// Backend is the pid of our session, as the server has it (behind a pooler it is not what the client was told), and
	// Application its application_name, which says the job and the segment.
	Backend     int
	Application string
}

// blockedSessions are others that wait for us. The sessions of every pgbackfill on the server count as ours.
type blockedSessions struct {
	query  Querier
	limits func() Limits
	// told is given all that wait longer than the limit, at every reading where there are any; nil is nobody.
	told func([]Blocked)
}

func (blockedSessions) Name() string { return "blocked_sessions" }
func (blockedSessions) Class() Class { return Gating }

// Interval finds a wait before it is twice as long as it may be.
func (s blockedSessions) Interval() time.Duration {
	if limit := s.limits().YieldAfter; limit > 0 {
		return max(limit/2, leastPoll)
	}
	return 0
}

func (s blockedSessions) Read(ctx context.Context) (Reading, error) {
	limit := s.limits().YieldAfter
	if limit <= 0 {
		return Reading{Off: true, Note: "yield_after is off"}, nil
	}
	worst := Reading{Limit: limit.Seconds(), Unit: Seconds}
	// What is far from the limit need not be looked into: asking who blocks whom is the dear part.
	half := strconv.FormatFloat(limit.Seconds()/2, 'f', -1, 64)
	rows, err := s.query.Query(ctx, pgsql.Waiting(half))
	switch {
	case err != nil:
		return Reading{}, err
	case text(cell(rows, 0, 0)) == "f":
		return worst, nil
	case !flag(cell(rows, 0, 0)):
		return Reading{}, fmt.Errorf("an answer of %d rows; expected yes or no", len(rows))
	}
	if rows, err = s.query.Query(ctx, pgsql.Blocked(half)); err != nil {
		return Reading{}, err
	}
	var over []Blocked
	for _, row := range rows {
		waited, err1 := strconv.ParseFloat(text(row[0]), 64)
		waiter, err2 := strconv.Atoi(text(row[1]))
		backend, err3 := strconv.Atoi(text(row[3]))
		if err1 != nil || err2 != nil || err3 != nil {
			return Reading{}, fmt.Errorf("an answer with %q, %q, %q; expected numbers", text(row[0]), text(row[1]), text(row[3]))
		}
		if waited > worst.Value {
			worst.Value, worst.Detail = waited, fmt.Sprintf("pid %d waits for %s", waiter, text(row[4]))
		}
		if waited > limit.Seconds() {
			over = append(over, Blocked{
				Waited: time.Duration(waited * float64(time.Second)), Waiter: waiter, WaiterName: text(row[2]),
				Backend: backend, Application: text(row[4]),
			})
		}
	}
	if len(over) > 0 && s.told != nil {
		s.told(over)
	}
	return worst, nil
}
