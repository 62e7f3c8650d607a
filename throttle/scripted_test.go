package throttle_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
	"github.com/pgbackfill/pgbackfill/throttle"
)

// replica is a standby of a scripted primary.
type replica struct {
	app, addr string
	replayed  int64
	unseen    bool // by the primary
	silent    bool // replies no more
	stopped   bool // replays no more
	speed     int64
	started   bool // has said how far it is
}

// scripted answers as a primary with standbys would. Time is that of a synctest bubble.
type scripted struct {
	mu          sync.Mutex
	pos         int64
	replicas    []*replica
	began       int
	clusterName string
	demoted     bool
	reconnects  int
	readers     map[string]string // of Aurora; nil is PostgreSQL
	err         error
	beat        string // of a heartbeat; "" is NULL
	// passed is when the log was where, to know the true lag.
	passed []struct {
		at  time.Time
		pos int64
	}
}

func (s *scripted) Reconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reconnects++
}

func (s *scripted) do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *scripted) Query(_ context.Context, q pgsql.Statement) ([][]*string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	switch q.Name {
	case "aurora":
		return rows([]any{s.readers != nil}), nil
	case "aurora replicas":
		var list [][]*string
		for name, lag := range s.readers {
			var v any
			if lag != "" {
				v = lag
			}
			list = append(list, rows([]any{name, v})...)
		}
		return list, nil
	case "replicas":
		return s.standbys(), nil
	case "standby": // asked as a standby itself, which it is until it is demoted
		return rows([]any{!s.demoted, s.pos, s.began}), nil
	case "heartbeat":
		var v any
		if s.beat != "" {
			v = s.beat
		}
		return rows([]any{v}), nil
	}
	return nil, fmt.Errorf("%s: nobody asked for that", q.Name)
}

// asked is a standby of a scripted primary that is asked itself, and that the primary does not see.
type asked struct {
	s *scripted
	r *replica
}

func (a asked) Query(_ context.Context, q pgsql.Statement) ([][]*string, error) {
	if q.Name == "heartbeat" {
		return rows([]any{a.s.lag(a.r).Seconds()}), nil
	}
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	return rows([]any{true, a.r.replayed, -1}), nil
}

func (s *scripted) standbys() [][]*string {
	first := []any{s.demoted, s.pos, s.began, s.clusterName, "app", true}
	var list [][]*string
	for i, r := range s.replicas {
		if r.unseen {
			continue
		}
		var replayed, reply any
		if r.started {
			replayed, reply = r.replayed, time.Now().UnixNano()
			if r.silent {
				reply = 1
			}
		}
		list = append(list, rows(append(first[:6:6], i, r.app, r.addr, "streaming", replayed, nil, reply, false))...)
	}
	if len(list) == 0 {
		return rows(append(first, nil, nil, nil, nil, nil, nil, nil, false))
	}
	return list
}

// rows makes one row of values.
func rows(values []any) [][]*string {
	row := make([]*string, len(values))
	for i, v := range values {
		var text string
		switch v := v.(type) {
		case nil:
			continue
		case bool:
			text = map[bool]string{true: "t", false: "f"}[v]
		case int:
			text = strconv.Itoa(v)
		default:
			text = fmt.Sprint(v)
		}
		row[i] = &text
	}
	return [][]*string{row}
}

// write makes so many bytes of log now.
func (s *scripted) write(bytes int64) {
	s.do(func() {
		s.pos += bytes
		s.passed = append(s.passed, struct {
			at  time.Time
			pos int64
		}{time.Now(), s.pos})
	})
}

// replay moves the standbys on, every hundredth of a second, until ctx ends.
func (s *scripted) replay(ctx context.Context) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.do(func() {
			for _, r := range s.replicas {
				if !r.stopped {
					r.replayed = min(r.replayed+r.speed/100, s.pos)
				}
			}
		})
	}
}

// lag is how long ago the first byte was written that the standby has not replayed.
func (s *scripted) lag(r *replica) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.passed) > 0 && s.passed[0].pos <= r.replayed {
		s.passed = s.passed[1:]
	}
	if len(s.passed) == 0 {
		return 0
	}
	return time.Since(s.passed[0].at)
}

// watching runs a throttle with the default intervals that looks at lag alone.
func watching(t *testing.T, s *scripted, lag throttle.LagLimits, o throttle.Options) (*throttle.Throttle, func()) {
	t.Helper()
	o.Limits, o.Primary = off(), s
	o.Limits.Lag = lag
	th, err := throttle.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return th, running(t, th)
}
