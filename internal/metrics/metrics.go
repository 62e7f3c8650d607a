// Package metrics shows what a process does as Prometheus metrics: an observer of the engine's events, a collector of
// what the throttle knows, and an HTTP server. docs/metrics.md names all of them.
package metrics

import (
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/throttle"
)

// Metrics are those of a process: of the jobs that it is at, one after the other, and of the throttle at work. It is a
// [prometheus.Collector]. [New] makes one.
type Metrics struct {
	version  string
	registry *prometheus.Registry
	seconds  *prometheus.HistogramVec

	mu       sync.Mutex // guards what is below
	parts    []*Part
	throttle *throttle.Throttle // nil is none at work
	// waited is what throttles that are gone have kept waiting.
	waited throttle.Waited
}

// New makes metrics of a program of this version, with those of the Go runtime and the process besides.
func New(version string) *Metrics {
	m := &Metrics{
		version: version, registry: prometheus.NewRegistry(),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: seconds.name, Help: seconds.help, Buckets: buckets}, seconds.labels),
	}
	m.registry.MustRegister(m, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Job says what a [Part] is about. All of it becomes labels.
type Job struct {
	// Name is the job's, and Command what is done: "run", "undo", "verify", "repair", "retry-quarantined".
	Name, Command string
	// Run and Process are the run's number, 0 being none, and what this process is called in it.
	Run     backfill.RunID
	Process string
	// Retried is how many rows are aside when a retry of them begins; 0 where it is none.
	Retried int64
}

// Part is what this process does at one job. Its Observe is a [backfill.Observer].
type Part struct {
	job      Job
	progress *backfill.Progress
	seconds  prometheus.Observer

	mu      sync.Mutex // guards what is below
	walked  map[string]int64
	changed map[string]int64
	retries map[string]int64
	chunks  int64
	again   int64
	gone    int64
	wanted  int
	last    time.Time // of the latest chunk; zero is none yet
}

// Begin makes the part of a job. It stays among the metrics, as it is at its end, for as long as the process; a later
// one of the same job and command takes its place.
func (m *Metrics) Begin(job Job) *Part {
	p := &Part{
		job: job, progress: backfill.NewProgress(nil), walked: map[string]int64{}, changed: map[string]int64{}, retries: map[string]int64{},
	}
	m.seconds.DeleteLabelValues(job.Name, job.Command)
	p.seconds = m.seconds.WithLabelValues(job.Name, job.Command)
	if job.Retried > 0 { // it says nothing when it begins
		p.progress.Observe(backfill.RunStarted{Run: job.Run, Job: job.Name, EstimatedRows: job.Retried})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, earlier := range m.parts {
		if earlier.job.Name == job.Name && earlier.job.Command == job.Command {
			m.parts[i] = p
			return p
		}
	}
	m.parts = append(m.parts, p)
	return p
}

// Throttled shows what a throttle knows until the returned function is called.
func (m *Metrics) Throttled(t *throttle.Throttle) (stop func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.throttle = t
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.throttle == t {
			m.throttle, m.waited = nil, sum(m.waited, t.Waited())
		}
	}
}

func sum(a, b throttle.Waited) throttle.Waited {
	return throttle.Waited{Gate: a.Gate + b.Gate, Replicas: a.Replicas + b.Replicas, Rate: a.Rate + b.Rate}
}

// Observe takes an event in.
func (p *Part) Observe(e backfill.Event) {
	p.progress.Observe(e)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := e.(type) {
	case backfill.ChunkCommitted:
		pass := e.Pass.String()
		p.chunks++
		p.walked[pass] += e.Chunk.RowsSeen
		for _, n := range e.Chunk.RowsChanged {
			p.changed[pass] += n
		}
		p.last = time.Now()
		p.seconds.Observe(e.Chunk.Duration.Seconds())
	case backfill.ChunkFailed:
		if e.Retry {
			p.retries[cause(e.Err)]++
		}
	case backfill.RowsGone:
		p.gone += e.Rows
	case backfill.Reconnected:
		p.again++
	case backfill.Scaled:
		p.wanted = e.Workers
	case backfill.LimitsChanged:
		p.wanted = e.Pace.Workers
	}
}

// causes are why a chunk is tried again.
var causes = []string{pgerr.Retry.String(), pgerr.Shrink.String(), pgerr.Data.String(), pgerr.Resource.String(), other}

const other = "other"

// cause is one of causes.
func cause(err error) string {
	switch a := pgerr.Class(err); a {
	case pgerr.Retry, pgerr.Shrink, pgerr.Data, pgerr.Resource:
		return a.String()
	}
	return other
}

// passes are the names of [backfill.Pass].
var passes = []string{backfill.PassWalk.String(), backfill.PassTail.String(), backfill.PassSweep.String()}

// states are those that a run can be shown in.
var states = []backfill.State{
	backfill.StatePlanned, backfill.StatePreparing, backfill.StateRunning, backfill.StatePausing, backfill.StatePaused, backfill.StateFinishing,
	backfill.StateFinished, backfill.StateFailed, backfill.StateCancelled, backfill.StateUndoing, backfill.StateUndone,
}

func stateNames() []string {
	list := make([]string, len(states))
	for i, s := range states {
		list[i] = string(s)
	}
	return list
}

// statuses are those of a signal.
var statuses = []throttle.Status{throttle.Unread, throttle.Fine, throttle.Near, throttle.Over, throttle.Stale, throttle.Unused}

func statusNames() []string {
	list := make([]string, len(statuses))
	for i, s := range statuses {
		list[i] = s.String()
	}
	return list
}

// Describe is for [prometheus.Collector].
func (m *Metrics) Describe(to chan<- *prometheus.Desc) {
	for _, f := range families {
		to <- f.desc
	}
}

// Collect is for [prometheus.Collector].
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	m.mu.Lock()
	parts, t, waited := append([]*Part(nil), m.parts...), m.throttle, m.waited
	m.mu.Unlock()
	buildInfo.emit(to, 1, m.version, runtime.Version())
	m.seconds.Collect(to)
	for i, p := range parts {
		p.collect(to, i == len(parts)-1, t)
	}
	if t != nil {
		waited = sum(waited, t.Waited())
		collectSignals(to, t.State())
		collectReplicas(to, t)
	}
	kept.emit(to, waited.Gate.Seconds(), "gate")
	kept.emit(to, waited.Replicas.Seconds(), "replicas")
	kept.emit(to, waited.Rate.Seconds(), "rate")
}

func runLabel(run backfill.RunID) string {
	if run == 0 {
		return ""
	}
	return strconv.FormatInt(int64(run), 10)
}
