package throttle

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Standby is a standby that the signals connect to themselves, as where the primary does not see it: one that restores
// from an archive, or is fed by another standby.
type Standby struct {
	// Name is what it is called in reasons, and in lag.ignore and lag.require.
	Name string
	// Query reaches it.
	Query Querier
	// Heartbeat, where it is not empty, is a SELECT of one number that the standby is asked for instead of what it has
	// replayed: its lag in seconds, as by a row that something writes on the primary every second.
	Heartbeat string
}

// lagDirect is the lag of one standby as it says itself. It is held against lag.max.
type lagDirect struct {
	Standby
	limits func() Limits
	clock  *walClock
	// ours is how old the newest sample of the primary may be.
	oldest time.Duration
	tell   func(text string)

	lost      time.Time // since when it cannot be reached; zero where it can
	forgotten bool
	was       bool // it has been a standby
}

func (*lagDirect) Name() string { return "replica_lag" }
func (*lagDirect) Class() Class { return Gating }

func (s *lagDirect) Interval() time.Duration { return lagTime{&replicas{limits: s.limits}}.Interval() }

func (s *lagDirect) Read(ctx context.Context) (Reading, error) {
	l := s.limits().Lag
	self := sighting{app: s.Standby.Name}
	switch {
	case l.Max <= 0:
		return Reading{Off: true, Note: "lag.max is off"}, nil
	case listed(self, l.Ignore):
		return Reading{Off: true, Note: "standby " + self.app + " is in lag.ignore"}, nil
	}
	r, err := s.ask(ctx, l)
	if err == nil {
		if s.forgotten {
			s.tell(fmt.Sprintf("standby %s is back after %s", self.app, brief(time.Since(s.lost))))
		}
		s.lost, s.forgotten = time.Time{}, false
		return r, nil
	}
	if !unreachable(err) {
		return Reading{}, fmt.Errorf("standby %s: %w", self.app, err)
	}
	if s.lost.IsZero() {
		s.lost = time.Now()
	}
	gone := time.Since(s.lost)
	if gone < l.Grace || listed(self, l.Require) {
		return Reading{}, fmt.Errorf("standby %s cannot be reached for %s: %w", self.app, brief(gone), err)
	}
	if !s.forgotten {
		s.forgotten = true
		s.tell(fmt.Sprintf("standby %s is forgotten: it could not be reached for %s", self.app, brief(gone)))
	}
	return Reading{Off: true, Note: "standby " + self.app + " is forgotten: it cannot be reached"}, nil
}

// unreachable is true of what a server that is gone, or does not answer, makes of a question.
func unreachable(err error) bool {
	return pgerr.Class(err) == pgerr.Retry || errors.Is(err, context.DeadlineExceeded)
}

func (s *lagDirect) ask(ctx context.Context, l LagLimits) (Reading, error) {
	detail := "standby " + s.Standby.Name
	reading := func(lag float64) Reading {
		return Reading{Value: lag, Limit: l.Max.Seconds(), Unit: Seconds, Detail: detail}
	}
	if s.Heartbeat != "" {
		lag, err := oneNumber(ctx, s.Query, pgsql.Statement{Name: "heartbeat", SQL: s.Heartbeat})
		return reading(lag), err
	}
	rows, err := s.Query.Query(ctx, pgsql.StandbyPosition())
	if err != nil {
		return Reading{}, err
	}
	if !flag(cell(rows, 0, 0)) {
		return s.promoted(l, detail)
	}
	s.was = true
	replayed, err := place(cell(rows, 0, 1))
	if err != nil {
		return Reading{}, err
	}
	now := time.Now()
	newest, ok := s.clock.newest()
	if !ok || now.Sub(newest.at) > s.oldest {
		return Reading{}, errors.New("the primary's place in the log is not known")
	}
	behind, known := s.clock.behind(replayed, now)
	if !known {
		return Reading{Says: "unknown", Shut: true, Detail: fmt.Sprintf("%s is %s behind since before it was first looked at",
			detail, size(float64(newest.pos-replayed), 1))}, nil
	}
	return reading(behind.Seconds()), nil
}

// promoted is the reading of what is no standby.
func (s *lagDirect) promoted(l LagLimits, detail string) (Reading, error) {
	if s.was {
		s.was = false
		s.tell(detail + " is a primary now")
	}
	if listed(sighting{app: s.Standby.Name}, l.Require) {
		return Reading{Says: "unknown", Shut: true, Detail: detail + " is required and is no standby"}, nil
	}
	return Reading{Off: true, Note: detail + " is no standby"}, nil
}

// oneNumber asks for one number.
func oneNumber(ctx context.Context, q Querier, s pgsql.Statement) (float64, error) {
	rows, err := q.Query(ctx, s)
	if err != nil {
		return 0, err
	}
	if len(rows) != 1 || len(rows[0]) != 1 {
		columns := 0
		if len(rows) > 0 {
			columns = len(rows[0])
		}
		return 0, fmt.Errorf("%d rows of %d columns; expected one number", len(rows), columns)
	}
	if rows[0][0] == nil {
		return 0, errors.New("NULL; expected one number")
	}
	n, err := strconv.ParseFloat(*rows[0][0], 64)
	if err != nil || n != n {
		return 0, fmt.Errorf("%q; expected one number", *rows[0][0])
	}
	return n, nil
}
