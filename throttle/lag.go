package throttle

import (
	"context"
	"fmt"
	"time"
)

// lagTenth is the part of a limit by which the lag may grow between two looks.
const lagTenth = 10

// lagTime is the replicas' lag by time: how long ago the primary passed what a standby has replayed. The replay_lag
// column of the server is not used: it stays what it was while replay is paused or the receiver is down.
type lagTime struct{ *replicas }

func (lagTime) Name() string { return "replica_lag" }
func (lagTime) Class() Class { return Gating }

// Interval keeps what the lag can grow by between two looks under a tenth of the limit.
func (s lagTime) Interval() time.Duration {
	if limit := s.limits().Lag.Max; limit > 0 {
		return max(limit/lagTenth, leastPoll)
	}
	return 0
}

// leastPoll is the shortest time between two readings that a limit can ask for.
const leastPoll = 100 * time.Millisecond

func (s lagTime) Read(ctx context.Context) (Reading, error) {
	limit := s.limits().Lag.Max
	if limit <= 0 {
		return Reading{Off: true, Note: "lag.max is off"}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.look(ctx); err != nil {
		return Reading{}, err
	}
	now := time.Now()
	if r, err := s.trouble(now); err != nil || r.Shut {
		return r, err
	}
	if s.aurora {
		return s.worstReader(limit)
	}
	worst := s.none()
	for _, m := range s.counted() {
		behind, known := s.clock.behind(m.replayed, now)
		detail := "standby " + s.members.name(m)
		if !known {
			return Reading{Says: "unknown", Shut: true, Detail: fmt.Sprintf("%s is %s behind since before it was first looked at",
				detail, size(float64(s.pos-m.replayed), 1))}, nil
		}
		if r := (Reading{Value: behind.Seconds(), Limit: limit.Seconds(), Unit: Seconds, Detail: detail}); worst.Off || r.Value > worst.Value {
			worst = r
		}
	}
	return worst, nil
}

func (s lagTime) worstReader(limit time.Duration) (Reading, error) {
	worst := s.none()
	for _, reader := range s.readers {
		if listed(sighting{app: reader.name}, s.limits().Lag.Ignore) {
			continue
		}
		if reader.lag < 0 {
			return Reading{}, fmt.Errorf("the server does not know the lag of %s", reader.name)
		}
		if r := (Reading{Value: reader.lag, Limit: limit.Seconds(), Unit: Seconds, Detail: "reader " + reader.name}); worst.Off || r.Value > worst.Value {
			worst = r
		}
	}
	return worst, nil
}

// lagBytes is the same in bytes: the primary's place in the log minus what is replayed. (What is sent minus what is
// replayed stays small while the receiver is down.)
type lagBytes struct{ *replicas }

func (lagBytes) Name() string { return "replica_lag_bytes" }
func (lagBytes) Class() Class { return Gating }

// busyLook is how often the replicas are looked at while there are any: what may be written between two looks is bounded,
// and looking costs less than a millisecond.
const busyLook = 200 * time.Millisecond

func (s lagBytes) Interval() time.Duration {
	if s.present.Load() || s.others {
		return busyLook
	}
	return 0
}

func (s lagBytes) Read(ctx context.Context) (Reading, error) {
	l := s.limits().Lag
	if l.MaxBytes <= 0 {
		return Reading{Off: true, Note: "lag.max_bytes is off"}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.look(ctx); err != nil {
		return Reading{}, err
	}
	if s.aurora {
		return Reading{Off: true, Note: "Aurora's readers share its storage"}, nil
	}
	if l.Max <= 0 { // else the other signal says it
		if r, err := s.trouble(time.Now()); err != nil || r.Shut {
			return r, err
		}
	}
	worst := s.none()
	for _, m := range s.counted() {
		behind := float64(0)
		if m.replayed < s.pos {
			behind = float64(s.pos - m.replayed)
		}
		if r := (Reading{Value: behind, Limit: float64(l.MaxBytes), Unit: Bytes, Detail: "standby " + s.members.name(m)}); worst.Off || r.Value > worst.Value {
			worst = r
		}
	}
	return worst, nil
}
