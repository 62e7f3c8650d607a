package main

import (
	"context"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/throttle"
)

// sessions are the connections over which signals are read: to the primary, to it once more for the operator's own
// queries, and to the standbys that are asked themselves. Each is made when it is first needed.
type sessions struct {
	primary, custom *throttle.Session
	standbys        []throttle.Standby
	all             []*throttle.Session
}

func (a *app) sessions(connect backfill.Connect) sessions {
	s := sessions{primary: throttle.NewSession(connect), custom: throttle.NewSession(connect)}
	s.all = []*throttle.Session{s.primary, s.custom}
	for _, standby := range a.standbys {
		asked := throttle.NewSession(standby.Connect)
		s.all = append(s.all, asked)
		s.standbys = append(s.standbys, throttle.Standby{Name: standby.Name, Query: asked, Heartbeat: standby.Heartbeat})
	}
	return s
}

// close ends them, also where ctx has ended.
func (s sessions) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	for _, one := range s.all {
		one.Close(ctx)
	}
}
