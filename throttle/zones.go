package throttle

import (
	"math"
	"sync"
	"time"
)

// The zones of utilisation by which the number of workers moves.
const (
	zoneMore  = 0.4 // under it, one more
	zoneHold  = 0.7 // up to it, hold; from it on, one less
	zoneHalve = 1.0 // from it on, half as many

	// zoneStep is the least time between two steps, a decrease and an increase after it included.
	zoneStep = 15 * time.Second
	// zoneSmooth is the weight of the newest reading in the smoothed one.
	zoneSmooth = 0.3
)

// Zones moves the number of workers by the utilisation of the gradual signals: by zones and in small steps, so that it
// does not swing as a sawtooth would. Utilisation under 0.4 means one worker more, up to 0.7 as many, up to 1 one less, and
// from there on half as many; a step at most every 15 s. What it goes by is smoothed (EWMA, 0.3); a single reading at the
// limit forbids an increase all the same. [NewZones] makes one.
type Zones struct {
	mu       sync.Mutex // guards what is below
	most     int
	workers  int
	pinned   bool
	smoothed float64
	read     bool // smoothed means something
	stepped  time.Time
}

// NewZones begins with most workers, which is also the greatest number; the least is one.
func NewZones(most int) *Zones {
	most = max(most, 1)
	return &Zones{most: most, workers: most}
}

// Workers is how many workers there should be.
func (z *Zones) Workers() int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.workers
}

// Pin fixes the number of workers, as `set workers=` does: the zones move it no more.
func (z *Zones) Pin(workers int) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.workers, z.pinned = max(workers, 1), true
}

// Limit changes the greatest number of workers and lets the zones move again, where they were pinned. Where the number
// was at the old one, it goes to the new one at once.
func (z *Zones) Limit(most int) {
	z.mu.Lock()
	defer z.mu.Unlock()
	most = max(most, 1)
	if z.pinned || z.workers == z.most {
		z.workers = most
	}
	z.most, z.pinned = most, false
	z.workers = min(z.workers, most)
}

// Step takes a reading of the load, made now, and returns how many workers there should be. It is to be called about once
// a second.
func (z *Zones) Step(l Load) int {
	now := time.Now()
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.pinned || l.Stale {
		return z.workers
	}
	// What is far over the limit says no more than twice it would, and would take minutes to be forgotten.
	raw := math.Min(l.Utilisation, 2*zoneHalve)
	if !z.read {
		z.smoothed, z.read = raw, true
	}
	z.smoothed += zoneSmooth * (raw - z.smoothed)
	if now.Sub(z.stepped) < zoneStep {
		return z.workers
	}
	want := z.workers
	switch {
	case z.smoothed >= zoneHalve:
		want /= 2
	case z.smoothed >= zoneHold:
		want--
	case z.smoothed < zoneMore && raw < zoneHalve:
		want++
	}
	want = min(max(want, 1), z.most)
	if want != z.workers {
		z.workers, z.stepped = want, now
	}
	return z.workers
}
