package backfill

import "time"

// paceSeconds is how far back a pacemeter remembers; at least paceLong.
const paceSeconds = 64

// pacemeter counts rows by the second of active time: a clock that stands still while
// nothing can be done, so that a pause slows neither the pace nor the ETA.
type pacemeter struct {
	// begun is when the clock was started and last when it was read; zero is not started.
	begun, last time.Time
	running     bool
	// active is the time the clock has run, and since the part of it that was forgotten.
	active, since time.Duration
	// rows counts by second of active time, modulo its length.
	rows [paceSeconds]int64
}

func (m *pacemeter) start(now time.Time) {
	if m.begun.IsZero() {
		m.begun, m.last, m.running = now, now, true
	}
}

// run lets the clock run or stand still from the moment it was last advanced to.
func (m *pacemeter) run(running bool) { m.running = running && !m.begun.IsZero() }

// advance moves the clock to now. A wall clock that went backwards does not move it.
func (m *pacemeter) advance(now time.Time) {
	if m.begun.IsZero() {
		return
	}
	passed := max(now.Sub(m.last), 0)
	m.last = now
	if !m.running {
		return
	}
	from := int64(m.active / time.Second)
	m.active += passed
	to := int64(m.active / time.Second)
	for s := max(from+1, to-paceSeconds+1); s <= to; s++ {
		m.rows[s%paceSeconds] = 0
	}
}

func (m *pacemeter) add(rows int64) { m.rows[int64(m.active/time.Second)%paceSeconds] += rows }

// forget begins the count anew: another pass has another pace.
func (m *pacemeter) forget() {
	m.rows = [paceSeconds]int64{}
	m.since = m.active
}

// rate is the rows a second over a window of active time up to now, or over all of it where
// there is less; 0 before half a second, which is too soon to tell.
func (m *pacemeter) rate(window time.Duration) float64 {
	at := int64(m.active / time.Second)
	first := max(at-int64(window/time.Second), int64(m.since/time.Second), 0)
	var rows int64
	for s := first; s <= at; s++ {
		rows += m.rows[s%paceSeconds]
	}
	span := m.active - max(time.Duration(first)*time.Second, m.since)
	if span < time.Second/2 {
		return 0
	}
	return float64(rows) / span.Seconds()
}

func (m *pacemeter) elapsed(now time.Time) time.Duration {
	if m.begun.IsZero() {
		return 0
	}
	return max(now.Sub(m.begun), 0)
}
