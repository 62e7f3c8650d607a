package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
	"github.com/pgbackfill/pgbackfill/throttle"
)

// The states of a signal.
const (
	signalWorks = "works"
	signalFails = "will not work"
	signalOff   = "off"
)

// signalHealth is one of the throttle's signals.
type signalHealth struct {
	Name  string `json:"name"`
	Class string `json:"class"`
	State string `json:"state"`
	// Shut is set where it works, and would keep a run waiting now.
	Shut     bool   `json:"shut"`
	Evidence string `json:"evidence"`
}

// The signals are read again, after lookAgain and at most looks times in all, where one of them cannot say anything yet.
const (
	lookAgain = 300 * time.Millisecond
	looks     = 5
)

// early reports whether a signal needs another reading: a rate takes two, and so does the lag of a standby that is behind,
// or is asked itself before the primary was.
func early(s throttle.SignalState, limits throttle.Limits) bool {
	return s.Name == "wal_rate" && s.Status == throttle.Unused && !limits.Off(s.Name) || s.Reading.Says == "unknown" || isLag(s.Name) && s.Err != nil
}

// isLag is true of the signals about standbys.
func isLag(signal string) bool { return signal == "replica_lag" || signal == "replica_lag_bytes" }

// signalsOf reads every signal of a throttle at this pace.
func (a *app) signalsOf(ctx context.Context, connect backfill.Connect, d *diagnosis, pace backfill.Pace, table uint32) ([]signalHealth, error) {
	limits, err := throttle.ParseLimits(pace.Limits)
	if err != nil {
		return nil, err
	}
	s := a.sessions(connect)
	defer s.close(ctx)
	t, err := throttle.New(throttle.Options{Limits: limits, Workers: 1, Primary: s.primary, Custom: s.custom, Standbys: s.standbys, Table: table})
	if err != nil {
		return nil, err
	}
	limits = t.Limits()
	states := t.Read(ctx)
	for n := 1; n < looks && slices.ContainsFunc(states, func(s throttle.SignalState) bool { return early(s, limits) }); n++ {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lookAgain):
		}
		states = t.Read(ctx)
	}
	var list []signalHealth
	for _, s := range states {
		// What the primary tells of comes first, and then who is asked himself.
		asked := slices.ContainsFunc(list, func(h signalHealth) bool { return isLag(s.Name) && h.Name == s.Name })
		list = append(list, d.signal(s, limits, asked))
	}
	return list, ctx.Err()
}

// signal says whether a signal will work. One that reads well only as long as there is nobody to be seen will not. asked is
// set where it is about a standby that is asked itself.
func (d *diagnosis) signal(s throttle.SignalState, limits throttle.Limits, asked bool) signalHealth {
	h := signalHealth{Name: s.Name, Class: s.Class.String(), State: signalWorks, Shut: s.Shut, Evidence: strings.TrimPrefix(strings.TrimPrefix(s.Text, s.Name), " ")}
	blind := throttle.NeedsOf(s.Name).Monitor && !d.Server.Monitor && !asked
	if isLag(s.Name) && s.Err == nil && s.Status != throttle.Unused {
		blind = false // it was seen: the role has what it takes without pg_monitor
	}
	var problem *throttle.Problem
	privilege := errors.As(s.Err, &problem) && errors.Is(s.Err, throttle.ErrPrivilege)
	if s.Status == throttle.Unused && s.Reading.Note != "" {
		h.Evidence = s.Reading.Note
		if !limits.Off(s.Name) {
			h.Evidence = "nothing to measure now: " + h.Evidence
		}
	}
	switch {
	case limits.Off(s.Name):
		h.State = signalOff
		return h
	case blind && limits.Unmonitored == throttle.Accept && s.Err == nil:
		h.State, h.Evidence = signalOff, "done without, by agreement (unmonitored: accept)"
		return h
	case s.Err != nil && !privilege:
		h.Evidence = strings.TrimPrefix(h.Evidence, "cannot be read: ")
		text := "mend that, or take it out of the configuration or the job file"
		if limit := throttle.NeedsOf(s.Name).Limit; isLag(s.Name) {
			text = "mend that; a standby that need not count is named in lag.ignore"
		} else if limit != "" {
			text = "mend that, or say in writing that it goes on without: --set " + limit + "=off"
		}
		d.fails(remedy{Why: s.Name + " cannot be read: " + h.Evidence, Text: text})
	case privilege || blind:
		h.Evidence = "role " + d.Server.Role + " may not see what it needs"
		if privilege {
			h.Evidence = problem.Found
		}
		d.fails(remedy{
			Why: "role " + d.Server.Role + " may not see how far the replicas are, nor what other roles do",
			SQL: []string{"GRANT pg_monitor TO " + pgsql.Ident(d.Server.Role)}, Text: "or say in writing that it goes on without: --set unmonitored=" + throttle.Accept,
		})
	default:
		if s.Shut {
			h.Evidence += ": no chunk would begin now"
		}
		return h
	}
	h.State, h.Shut = signalFails, false
	return h
}
