package throttle

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
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

// direct looks at one standby as it says itself, for the signals of lag by time and by bytes, and for the pace.
type direct struct {
	Standby
	limits func() Limits
	clock  *walClock
	// flushed is the same of what the primary had on its disk.
	flushed *walClock
	// primary tells the server that is written to from others; nil is not known.
	primary *atomic.Pointer[string]
	// oldest is how old the newest sample of the primary may be.
	oldest  time.Duration
	tell    func(text string)
	pressed func(Pressure)
	// found is what the latest good look found; nil is nothing.
	found atomic.Pointer[Replica]

	mu        sync.Mutex // guards what is below
	lost      time.Time  // since when it cannot be reached; zero where it can
	forgotten bool
	was       bool // it has been a standby
	said      string
	// replayed is where it was at the look at moved; zero is not known.
	replayed position
	moved    time.Time
	// at is when the latest look was taken, last what it came to.
	at      time.Time
	last    directLook
	lastErr error
}

// directLook is what a look at a standby came to: what there is to be said before any number, or its lag.
type directLook struct {
	says   *Reading
	behind time.Duration
	bytes  int64
}

// look reads the standby, unless that was done a moment ago.
func (s *direct) look(ctx context.Context) (directLook, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if begin := time.Now(); s.at.IsZero() || begin.Sub(s.at) >= freshLook {
		s.last, s.lastErr = s.read(ctx)
		s.at = time.Now()
		if s.lastErr != nil || s.last.says != nil {
			s.found.Store(nil)
			s.moved = time.Time{}
			if s.lastErr == nil && s.last.says.Off {
				s.pressed(Pressure{None: true})
			}
		}
	}
	return s.last, s.lastErr
}

// read asks the standby. The caller holds mu.
func (s *direct) read(ctx context.Context) (directLook, error) {
	l, self := s.limits().Lag, sighting{app: s.Name}
	off := func(note string) directLook { return directLook{says: &Reading{Off: true, Note: note}} }
	if listed(self, l.Ignore) {
		return off("standby " + s.Name + " is in lag.ignore"), nil
	}
	r, err := s.ask(ctx, l)
	if err == nil {
		if s.forgotten {
			s.tell(fmt.Sprintf("standby %s is back after %s", s.Name, brief(time.Since(s.lost))))
		}
		s.lost, s.forgotten = time.Time{}, false
		return r, nil
	}
	if !unreachable(err) {
		return directLook{}, fmt.Errorf("standby %s: %w", s.Name, err)
	}
	if s.lost.IsZero() {
		s.lost = time.Now()
	}
	gone := time.Since(s.lost)
	if gone < l.Grace || listed(self, l.Require) {
		return directLook{}, fmt.Errorf("standby %s cannot be reached for %s: %w", s.Name, brief(gone), err)
	}
	if !s.forgotten {
		s.forgotten = true
		s.tell(fmt.Sprintf("standby %s is forgotten: it could not be reached for %s", s.Name, brief(gone)))
	}
	return off("standby " + s.Name + " is forgotten: it cannot be reached"), nil
}

// unreachable is true of what a server that is gone, or does not answer, makes of a question.
func unreachable(err error) bool {
	return pgerr.Class(err) == pgerr.Retry || errors.Is(err, context.DeadlineExceeded)
}

func (s *direct) ask(ctx context.Context, l LagLimits) (directLook, error) {
	if s.Heartbeat != "" {
		lag, err := oneNumber(ctx, s.Query, pgsql.Statement{Name: "heartbeat", SQL: s.Heartbeat})
		if err != nil {
			return directLook{}, err
		}
		now := time.Now()
		behind := time.Duration(max(lag, 0) * float64(time.Second))
		// It has replayed about what the primary had written then.
		replayed, known := s.clock.at(now.Add(-behind))
		if !known && l.Max <= 0 {
			return directLook{says: &Reading{Says: "unknown", Shut: true, Detail: "standby " + s.Name + " is behind since before the primary was first looked at"}}, nil
		}
		return s.saw(l, replayed, behind, max(behind-heartbeatEvery, 0), min(behind, heartbeatEvery), now), nil
	}
	rows, err := s.Query.Query(ctx, pgsql.StandbyPosition())
	if err != nil {
		return directLook{}, err
	}
	if !flag(cell(rows, 0, 0)) {
		return s.noStandby(l, text(cell(rows, 0, 2)))
	}
	s.was, s.said = true, ""
	replayed, err := place(cell(rows, 0, 1))
	if err != nil {
		return directLook{}, err
	}
	now := time.Now()
	newest, ok := s.clock.newest()
	if !ok || now.Sub(newest.at) > s.oldest {
		return directLook{}, errors.New("the primary's place in the log is not known")
	}
	behind, known := s.clock.behind(replayed, now)
	if !known {
		return directLook{says: &Reading{Says: "unknown", Shut: true, Detail: fmt.Sprintf("standby %s is %s behind since before it was first looked at",
			s.Name, size(float64(newest.pos-replayed), 1))}}, nil
	}
	queue, _ := s.flushed.behind(replayed, now)
	return s.saw(l, replayed, behind, queue, 0, now), nil
}

// heartbeatEvery is about how often a heartbeat is written: by so much the lag may be overstated.
const heartbeatEvery = time.Second

// saw takes what a standby has replayed, 0 is not known, and says how much it is behind.
func (s *direct) saw(l LagLimits, replayed position, behind, queue, blur time.Duration, now time.Time) directLook {
	look := directLook{behind: behind}
	if newest, ok := s.clock.newest(); ok && replayed > 0 && newest.pos > replayed {
		look.bytes = int64(newest.pos - replayed)
	}
	p := Pressure{Lag: behind, MaxLag: max(l.Max, 0), Bytes: look.bytes, MaxBytes: max(l.MaxBytes, 0), Queue: queue, Blur: blur}
	if !s.moved.IsZero() && s.replayed > 0 && replayed >= s.replayed {
		p.Replayed, p.Since = int64(replayed-s.replayed), now.Sub(s.moved)
	}
	s.replayed, s.moved = replayed, now
	p.Poll = max(directInterval(l), p.Since)
	s.pressed(p)
	s.found.Store(&Replica{Name: s.Name, Lag: behind, Known: true, Bytes: look.bytes})
	return look
}

// noStandby is what a look at what is no standby comes to. It may be the primary itself, after a failover, or one that was a
// standby until now; what it is else is not known, and stops the work.
func (s *direct) noStandby(l LagLimits, server string) (directLook, error) {
	once := func(text string) {
		if s.said != text {
			s.said = text
			s.tell(text)
		}
	}
	says := func(r Reading) (directLook, error) { return directLook{says: &r}, nil }
	primary := s.primary.Load()
	switch {
	case listed(sighting{app: s.Name}, l.Require):
		return says(Reading{Says: "unknown", Shut: true, Detail: "standby " + s.Name + " is required and is no standby"})
	case primary != nil && *primary != "" && *primary == server:
		once("standby " + s.Name + " is the primary: it is not asked how far it is behind")
		return says(Reading{Off: true, Note: "standby " + s.Name + " is the primary"})
	case s.was:
		once("standby " + s.Name + " is a primary now")
		return says(Reading{Off: true, Note: "standby " + s.Name + " is no standby any more"})
	}
	return says(Reading{Says: "unknown", Shut: true, Detail: "standby " + s.Name + " is no standby; mend its connection string, or put it into lag.ignore"})
}

// directInterval is how often a standby is asked: what the lag can grow by between two looks is under a tenth of the limit.
func directInterval(l LagLimits) time.Duration {
	switch {
	case l.MaxBytes > 0:
		return busyLook
	case l.Max > 0:
		return max(l.Max/lagTenth, leastPoll)
	}
	return 0
}

// directTime is the lag of a standby that is asked itself, by time.
type directTime struct{ *direct }

func (directTime) Name() string              { return "replica_lag" }
func (directTime) Class() Class              { return Gating }
func (s directTime) Interval() time.Duration { return directInterval(s.limits().Lag) }

func (s directTime) Read(ctx context.Context) (Reading, error) {
	l := s.limits().Lag
	if l.Max <= 0 {
		return Reading{Off: true, Note: "lag.max is off"}, nil
	}
	look, err := s.look(ctx)
	switch {
	case err != nil:
		return Reading{}, err
	case look.says != nil:
		return *look.says, nil
	}
	return Reading{Value: look.behind.Seconds(), Limit: l.Max.Seconds(), Unit: Seconds, Detail: "standby " + s.direct.Name}, nil
}

// directBytes is the same by bytes of the log.
type directBytes struct{ *direct }

func (directBytes) Name() string              { return "replica_lag_bytes" }
func (directBytes) Class() Class              { return Gating }
func (s directBytes) Interval() time.Duration { return directInterval(s.limits().Lag) }

func (s directBytes) Read(ctx context.Context) (Reading, error) {
	l := s.limits().Lag
	if l.MaxBytes <= 0 {
		return Reading{Off: true, Note: "lag.max_bytes is off"}, nil
	}
	look, err := s.look(ctx)
	switch {
	case err != nil && l.Max > 0: // the other signal says it
		return Reading{Off: true, Note: "standby " + s.direct.Name + " is not known"}, nil
	case err != nil:
		return Reading{}, err
	case look.says != nil && (l.Max <= 0 || look.says.Off):
		return *look.says, nil
	case look.says != nil:
		return Reading{Off: true, Note: "standby " + s.direct.Name + " is not known"}, nil
	}
	return Reading{Value: float64(look.bytes), Limit: float64(l.MaxBytes), Unit: Bytes, Detail: "standby " + s.direct.Name}, nil
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
