package throttle

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// commitWindow is how long a commit counts, and commitsEnough how many there must be for their median to mean
	// something.
	commitWindow  = 10 * time.Second
	commitsEnough = 5
	// commitsKept bounds the memory of the window.
	commitsKept = 512
	// commitFloor is how fast a commit need not be: below it, twice as slow means nothing.
	commitFloor = 5 * time.Millisecond
	// commitDrift is by how much the baseline rises in a reading that is above it, so that a server that has become
	// slower for good is not taken for one that is busy for ever: a doubling takes some twenty minutes.
	commitDrift = 1.0006
)

// commitLatency is how long our own commits take, over what is usual: the lowest median of ten seconds that was seen.
type commitLatency struct {
	limits func() Limits

	mu       sync.Mutex // guards what is below
	commits  []commit
	baseline float64 // seconds; 0 before the first
}

type commit struct {
	at   time.Time
	took time.Duration
}

func (*commitLatency) Name() string { return "commit_latency" }
func (*commitLatency) Class() Class { return Gradual }

// took records a commit.
func (s *commitLatency) took(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.commits) == commitsKept {
		s.commits = append(s.commits[:0], s.commits[1:]...)
	}
	s.commits = append(s.commits, commit{time.Now(), d})
}

func (s *commitLatency) Read(context.Context) (Reading, error) {
	limit := s.limits().CommitsMaxRatio
	if limit <= 0 {
		return Reading{Off: true, Note: "commits.max_ratio is off"}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	since := time.Now().Add(-commitWindow)
	s.commits = slices.DeleteFunc(s.commits, func(c commit) bool { return c.at.Before(since) })
	if len(s.commits) < commitsEnough {
		return Reading{Off: true, Note: "too few commits of late"}, nil
	}
	times := make([]float64, len(s.commits))
	for i, c := range s.commits {
		times[i] = max(c.took, commitFloor).Seconds()
	}
	slices.Sort(times)
	median := times[len(times)/2]
	if s.baseline == 0 || median < s.baseline {
		s.baseline = median
	} else {
		s.baseline = min(median, s.baseline*commitDrift)
	}
	detail := "a commit takes " + seconds(median, 1) + ", usual is " + seconds(s.baseline, 1)
	return Reading{Value: median / s.baseline, Limit: limit, Unit: Ratio, Detail: detail}, nil
}
