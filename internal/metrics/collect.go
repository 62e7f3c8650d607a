package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/throttle"
)

// collect shows a part. Where it is the one at work, t is its throttle, or nil.
func (p *Part) collect(to chan<- prometheus.Metric, latest bool, t *throttle.Throttle) {
	s := p.progress.Snapshot()
	p.mu.Lock()
	defer p.mu.Unlock()
	labels := []string{p.job.Name, p.job.Command}
	with := func(more ...string) []string { return append(labels[:2:2], more...) }

	runInfo.emit(to, 1, with(runLabel(p.job.Run), p.job.Process)...)
	if p.job.Command == "run" || p.job.Command == "undo" {
		for _, one := range states {
			state.emit(to, truth(one == s.State), with(string(one))...)
		}
	}
	for _, pass := range passes {
		walked.emit(to, float64(p.walked[pass]), with(pass)...)
		changed.emit(to, float64(p.changed[pass]), with(pass)...)
	}
	for _, why := range causes {
		retries.emit(to, float64(p.retries[why]), with(why)...)
	}
	chunks.emit(to, float64(p.chunks), labels...)
	yields.emit(to, float64(s.Yields), labels...)
	again.emit(to, float64(p.again), labels...)
	left := s.Quarantined
	if p.job.Retried > 0 {
		left = max(p.job.Retried-p.walked[backfill.PassWalk.String()]-p.gone, 0)
	}
	aside.emit(to, float64(left), labels...)
	guess.emit(to, float64(s.EstimatedRows), labels...)
	done.emit(to, s.Fraction, labels...)
	p.collectPace(to, s, labels)
	p.collectWorkers(to, s, labels, latest, t)
}

// collectPace shows how fast it goes. What stands still has no pace, and nobody knows when it will be over.
func (p *Part) collectPace(to chan<- prometheus.Metric, s backfill.ProgressSnapshot, labels []string) {
	still := s.Stopped() || s.Ended || s.Why() != ""
	pace := s.RowsPerSecond
	if still {
		pace = 0
	}
	rate.emit(to, pace, labels...)
	if s.ETA >= 0 && !s.Stopped() && !s.Ended {
		eta.emit(to, s.ETA.Seconds(), labels...)
	}
	if s.ChunkRows > 0 {
		size.emit(to, float64(s.ChunkRows), labels...)
	}
	if !p.last.IsZero() {
		last.emit(to, float64(p.last.UnixMilli())/1000, labels...)
	}
	waits.emit(to, truth(still && !s.Ended), labels...)
}

func (p *Part) collectWorkers(to chan<- prometheus.Metric, s backfill.ProgressSnapshot, labels []string, latest bool, t *throttle.Throttle) {
	n := p.wanted
	switch {
	case s.Ended:
		n = 0
	case n == 0 && latest && t != nil: // it was not moved yet
		n, _ = t.Workers()
	}
	wanted.emit(to, float64(n), labels...)
	busy.emit(to, float64(s.Busy), labels...)
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// named is what is known of the signals of one name, of which there may be several.
type named struct {
	name   string
	class  throttle.Class
	status throttle.Status
	shut   bool
	// used and age are the greatest; negative is not known.
	used, age float64
}

// gravest says which of two signals of one name is told of: the one that is worst off.
var gravest = map[throttle.Status]int{throttle.Unused: 0, throttle.Fine: 1, throttle.Near: 2, throttle.Unread: 3, throttle.Over: 4, throttle.Stale: 5}

// byName puts signals of one name together: a label may not be there twice.
func byName(list []throttle.SignalState) []named {
	var all []named
	at := map[string]int{}
	for _, s := range list {
		one := named{name: s.Name, class: s.Class, status: s.Status, shut: s.Shut, used: -1, age: -1}
		switch s.Status {
		case throttle.Fine, throttle.Near, throttle.Over:
			if s.Reading.Says == "" {
				one.used = s.Reading.Utilisation()
			}
		case throttle.Unread, throttle.Stale, throttle.Unused:
		}
		if s.Status != throttle.Unread && !(s.Err != nil && s.Age == 0) { // an age of 0 and an error: it was never read
			one.age = s.Age.Seconds()
		}
		key := s.Name + "\x00" + s.Class.String()
		i, known := at[key]
		if !known {
			at[key] = len(all)
			all = append(all, one)
			continue
		}
		if gravest[one.status] > gravest[all[i].status] {
			all[i].status = one.status
		}
		all[i].shut = all[i].shut || one.shut
		all[i].used, all[i].age = max(all[i].used, one.used), max(all[i].age, one.age)
	}
	return all
}

func collectSignals(to chan<- prometheus.Metric, list []throttle.SignalState) {
	for _, s := range byName(list) {
		class := s.class.String()
		if s.class == throttle.Gating {
			shut.emit(to, truth(s.shut), s.name)
		}
		for _, one := range statuses {
			status.emit(to, truth(one == s.status), s.name, class, one.String())
		}
		if s.used >= 0 {
			used.emit(to, s.used, s.name, class)
		}
		if s.age >= 0 {
			age.emit(to, s.age, s.name, class)
		}
	}
}

func collectReplicas(to chan<- prometheus.Metric, t *throttle.Throttle) {
	l := t.Limits().Lag
	if l.Max > 0 {
		mostLag.emit(to, l.Max.Seconds())
	}
	if l.MaxBytes > 0 {
		mostBytes.emit(to, float64(l.MaxBytes))
	}
	p := t.Pace()
	perRow.emit(to, p.BytesPerRow)
	if p.BytesPerSecond > 0 {
		let.emit(to, p.BytesPerSecond)
	}
	if p.Replay > 0 {
		replay.emit(to, p.Replay)
	}
	for _, r := range worst(t.Replicas()) {
		lag.emit(to, r.Lag.Seconds(), r.Name)
		lagBytes.emit(to, float64(r.Bytes), r.Name)
		connected.emit(to, truth(r.Gone == 0), r.Name)
		counted.emit(to, truth(!r.Ignored), r.Name)
	}
}

// worst keeps of several replicas of one name the one that is furthest behind.
func worst(list []throttle.Replica) []throttle.Replica {
	var all []throttle.Replica
	at := map[string]int{}
	for _, r := range list {
		i, known := at[r.Name]
		switch {
		case !known:
			at[r.Name] = len(all)
			all = append(all, r)
		case r.Bytes > all[i].Bytes || r.Lag > all[i].Lag:
			all[i] = r
		}
	}
	return all
}
