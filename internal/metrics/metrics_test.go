package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/metrics"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
	"github.com/pgbackfill/pgbackfill/throttle"
)

// primary answers as a server with standbys does, of which some are called as others.
type primary struct{ behind int64 }

func (p primary) Query(_ context.Context, s pgsql.Statement) ([][]*string, error) {
	text := func(s string) *string { return &s }
	switch s.Name {
	case "aurora":
		return [][]*string{{text("f")}}, nil
	case "replicas":
		row := func(pid, app, addr string, replayed int64) []*string {
			return []*string{
				text("f"), text("500000"), text("1"), text(""), text("ann"), text("t"),
				text(pid), text(app), text(addr), text("streaming"), text(fmt.Sprint(replayed)), nil, text("1"), text("f"),
			}
		}
		return [][]*string{
			row("7", "eu-2", "10.0.0.2", 500000), row("8", "walreceiver", "10.0.0.3", 500000-p.behind), row("9", "walreceiver", "10.0.0.4", 500000-p.behind),
			row("10", "twin", "", 500000), row("11", "twin", "", 500000-p.behind),
		}, nil
	}
	return nil, errors.New("permission denied for function pg_stat_something")
}

// reading is a signal that reads what it is.
type reading struct {
	name  string
	class throttle.Class
	throttle.Reading
	err error
}

func (r reading) Name() string                                   { return r.name }
func (r reading) Class() throttle.Class                          { return r.class }
func (r reading) Read(context.Context) (throttle.Reading, error) { return r.Reading, r.err }

// read is a throttle that has read everything once.
func read(t *testing.T, signals ...throttle.Signal) *throttle.Throttle {
	t.Helper()
	th, err := throttle.New(throttle.Options{Primary: primary{4096}, Workers: 4, Signals: signals})
	if err != nil {
		t.Fatal(err)
	}
	th.Read(t.Context())
	return th
}

// gather is every sample of ours by its name and labels, as a scrape has it.
func gather(t *testing.T, m *metrics.Metrics) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, s := range f.GetMetric() {
			var labels []string
			for _, l := range s.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			key := strings.TrimPrefix(f.GetName(), "pgbackfill_") + "{" + strings.Join(labels, ",") + "}"
			switch {
			case s.GetHistogram() != nil:
				all[key] = float64(s.GetHistogram().GetSampleCount())
			case s.GetCounter() != nil:
				all[key] = s.GetCounter().GetValue()
			default:
				all[key] = s.GetGauge().GetValue()
			}
		}
	}
	return all
}

// has checks some samples; a value of -1 says that there is none.
func has(t *testing.T, all map[string]float64, want map[string]float64) {
	t.Helper()
	for key, v := range want {
		got, there := all[key]
		if !there {
			got = -1
		}
		if got != v {
			t.Errorf("%s is %v, expected %v", key, got, v)
		}
	}
}

func chunk(p *metrics.Part, pass backfill.Pass, seen, changed int64) {
	p.Observe(backfill.ChunkCommitted{
		Worker: 1, Pass: pass, NextRows: 500,
		Chunk: backfill.Chunk{Segment: 1, Seq: 1, RowsSeen: seen, RowsChanged: []int64{changed, 1}, Duration: 80 * time.Millisecond},
	})
}

// Made to fail: with the counting of each of these events left out in turn.
func TestWhatARunDoesIsCounted(t *testing.T) {
	t.Parallel()
	m := metrics.New("1.2.3")
	p := m.Begin(metrics.Job{Name: "users", Command: "run", Run: 12, Process: "ann@laptop"})
	has(t, gather(t, m), map[string]float64{
		"run_state{command=run,job_name=users,state=planned}": 1, "chunk_rows{command=run,job_name=users}": -1, "eta_seconds{command=run,job_name=users}": -1,
		"last_chunk_timestamp_seconds{command=run,job_name=users}": -1, "chunk_retries_total{cause=retry,command=run,job_name=users}": 0,
	})
	p.Observe(backfill.RunStarted{Run: 12, Job: "users", EstimatedRows: 4000, RowsSeen: 500, Quarantined: 1})
	p.Observe(backfill.PassStarted{Pass: backfill.PassWalk, Segments: 1})
	p.Observe(backfill.SegmentStarted{Worker: 1, Segment: backfill.Segment{No: 1}})
	chunk(p, backfill.PassWalk, 1000, 900)
	chunk(p, backfill.PassWalk, 500, 0)
	chunk(p, backfill.PassSweep+3, 10, 2)
	p.Observe(backfill.ChunkFailed{Retry: true, Err: &pgconn.PgError{Code: "40P01"}})
	p.Observe(backfill.ChunkFailed{Retry: true, Err: &pgconn.PgError{Code: "23505"}})
	p.Observe(backfill.ChunkFailed{Retry: true, Err: errors.New("no idea")})
	p.Observe(backfill.ChunkFailed{Err: &pgconn.PgError{Code: "42703"}})
	p.Observe(backfill.Yielded{Worker: 1, To: "pid 7 of the application, which waited 300ms"})
	p.Observe(backfill.Reconnected{Worker: 1})
	p.Observe(backfill.Quarantined{Aside: 3})
	p.Observe(backfill.Scaled{Workers: 3})
	all := gather(t, m)
	has(t, all, map[string]float64{
		"run_info{command=run,job_name=users,process=ann@laptop,run=12}": 1,
		"run_state{command=run,job_name=users,state=running}":            1, "run_state{command=run,job_name=users,state=planned}": 0,
		"rows_walked_total{command=run,job_name=users,pass=walk}": 1500, "rows_walked_total{command=run,job_name=users,pass=sweep}": 10,
		"rows_walked_total{command=run,job_name=users,pass=tail}":  0,
		"rows_changed_total{command=run,job_name=users,pass=walk}": 902, "rows_changed_total{command=run,job_name=users,pass=sweep}": 3,
		"chunks_total{command=run,job_name=users}": 3, "chunk_duration_seconds{command=run,job_name=users}": 3, "chunk_rows{command=run,job_name=users}": 500,
		"chunk_retries_total{cause=retry,command=run,job_name=users}": 1, "chunk_retries_total{cause=data,command=run,job_name=users}": 1,
		"chunk_retries_total{cause=other,command=run,job_name=users}": 1, "chunk_yields_total{command=run,job_name=users}": 1,
		"reconnections_total{command=run,job_name=users}": 1, "quarantined_rows{command=run,job_name=users}": 3,
		"workers_wanted{command=run,job_name=users}": 3, "workers_busy{command=run,job_name=users}": 1,
		"estimated_rows{command=run,job_name=users}": 4000, "progress_ratio{command=run,job_name=users}": 0.5, "waiting{command=run,job_name=users}": 0,
	})
	if at := all["last_chunk_timestamp_seconds{command=run,job_name=users}"]; time.Since(time.UnixMilli(int64(at*1000))).Abs() > time.Minute {
		t.Errorf("the latest chunk was at %v", at)
	}
	p.Observe(backfill.Waiting{Reason: "replica_lag 12.4s > 10s (standby eu-2)"})
	has(t, gather(t, m), map[string]float64{"waiting{command=run,job_name=users}": 1, "rows_per_second{command=run,job_name=users}": 0})
	p.Observe(backfill.RunEnded{Summary: backfill.Summary{State: backfill.StateFinished}})
	has(t, gather(t, m), map[string]float64{
		"run_state{command=run,job_name=users,state=finished}": 1, "progress_ratio{command=run,job_name=users}": 1, "workers_wanted{command=run,job_name=users}": 0,
		"waiting{command=run,job_name=users}": 0, "chunks_total{command=run,job_name=users}": 3,
	})
}

// The jobs of a file are beside one another; one that is begun again begins at nothing.
//
// Made to fail: with parts that are only appended, the registry refuses the second one of a name.
func TestJobsOfAProcessAreToldApart(t *testing.T) {
	t.Parallel()
	m := metrics.New("dev")
	chunk(m.Begin(metrics.Job{Name: "a", Command: "run"}), backfill.PassWalk, 7, 7)
	chunk(m.Begin(metrics.Job{Name: "b", Command: "verify"}), backfill.PassWalk, 5, 0)
	all := gather(t, m)
	has(t, all, map[string]float64{
		"rows_walked_total{command=run,job_name=a,pass=walk}": 7, "rows_walked_total{command=verify,job_name=b,pass=walk}": 5,
		"run_info{command=verify,job_name=b,process=,run=}": 1, "run_state{command=verify,job_name=b,state=planned}": -1,
	})
	retry := m.Begin(metrics.Job{Name: "c", Command: "retry-quarantined", Retried: 4})
	chunk(retry, backfill.PassWalk, 1, 1)
	has(t, gather(t, m), map[string]float64{"quarantined_rows{command=retry-quarantined,job_name=c}": 3, "progress_ratio{command=retry-quarantined,job_name=c}": 0.25})
	m.Begin(metrics.Job{Name: "a", Command: "run"})
	has(t, gather(t, m), map[string]float64{
		"rows_walked_total{command=run,job_name=a,pass=walk}": 0, "chunk_duration_seconds{command=run,job_name=a}": 0, "rows_walked_total{command=verify,job_name=b,pass=walk}": 5,
	})
}

// What the throttle knows is shown while it is at work, by names of which each is there once.
//
// Made to fail: without byName and worst the registry refuses two samples of the same labels; with Throttled's end left
// out, what was read last is shown for ever.
func TestSignalsAndReplicas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New("dev")
		th := read(t,
			reading{name: "flag_file", Reading: throttle.Reading{Says: "absent", Detail: "/a"}},
			reading{name: "flag_file", Reading: throttle.Reading{Says: "present", Shut: true, Detail: "/b"}},
			reading{name: "queue", class: throttle.Gradual, Reading: throttle.Reading{Value: 80, Limit: 100}},
			reading{name: "broken", err: errors.New("no")})
		stop := m.Throttled(th)
		all := gather(t, m)
		has(t, all, map[string]float64{
			"gate_shut{signal=flag_file}": 1, "signal_status{class=gate,signal=flag_file,status=over}": 1, "signal_status{class=gate,signal=flag_file,status=fine}": 0,
			"signal_utilization_ratio{class=gate,signal=flag_file}": -1,
			"gate_shut{signal=queue}":                               -1, "signal_utilization_ratio{class=gradual,signal=queue}": 0.8, "signal_status{class=gradual,signal=queue,status=near}": 1,
			"gate_shut{signal=broken}": 1, "signal_status{class=gate,signal=broken,status=stale}": 1, "signal_reading_age_seconds{class=gate,signal=broken}": -1,
			"signal_status{class=gate,signal=slot_retention,status=stale}": 1, "signal_status{class=gradual,signal=wal_rate,status=off}": 1,
			"replica_lag_bytes{standby=eu-2}": 0, "replica_connected{standby=eu-2}": 1, "replica_counted{standby=eu-2}": 1,
			"replica_lag_limit_seconds{}": 10, "replica_lag_limit_bytes{}": 256 << 20, "wal_row_bytes{}": 1000,
			"throttle_wait_seconds_total{by=gate}": 0,
		})
		has(t, all, map[string]float64{"replica_lag_bytes{standby=twin}": 4096})
		behind := 0
		for key, v := range all {
			if strings.HasPrefix(key, "replica_lag_bytes{standby=walreceiver") && v == 4096 {
				behind++
			}
		}
		if behind == 0 {
			t.Errorf("no standby is behind: %v", all)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := th.Wait(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("the gate is open: %v", err)
		}
		before := gather(t, m)["throttle_wait_seconds_total{by=gate}"]
		if before != 0.02 {
			t.Errorf("it waited %v s", before)
		}
		stop()
		has(t, gather(t, m), map[string]float64{
			"gate_shut{signal=flag_file}": -1, "replica_lag_bytes{standby=eu-2}": -1, "throttle_wait_seconds_total{by=gate}": before, "throttle_wait_seconds_total{by=rate}": 0,
		})
	})
}

// whole is metrics of which every family has a sample. It is called in a bubble: its time costs nothing.
func whole(t *testing.T) *metrics.Metrics {
	t.Helper()
	m := metrics.New("dev")
	m.Throttled(read(t, reading{name: "queue", Reading: throttle.Reading{Value: 1, Limit: 2}}))
	p := m.Begin(metrics.Job{Name: "users", Command: "run", Run: 1, Process: "ann"})
	p.Observe(backfill.RunStarted{Run: 1, Job: "users", EstimatedRows: 4000})
	p.Observe(backfill.SegmentStarted{Worker: 1, Segment: backfill.Segment{No: 1}})
	time.Sleep(600 * time.Millisecond) // a pace, and so an ETA, is known after half a second
	chunk(p, backfill.PassWalk, 10, 10)
	return m
}

// What is described is there, and is as Prometheus' own linter wants it.
//
// Made to fail: with rows_walked (no _total), with a time in milliseconds, and with a family that is never collected.
func TestNamesAreAsTheConventionHasThem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := whole(t)
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(m)
		problems, err := testutil.GatherAndLint(registry)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
		described := make(chan *prometheus.Desc, 100)
		m.Describe(described)
		close(described)
		var names []string
		for d := range described {
			_, rest, _ := strings.Cut(d.String(), `fqName: "`)
			name, _, _ := strings.Cut(rest, `"`)
			names = append(names, name)
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		there := map[string]bool{}
		for _, f := range families {
			there[f.GetName()] = true
		}
		for _, name := range names {
			if !there[name] {
				t.Errorf("%s is described and never shown", name)
			}
		}
		if len(names) < 30 || len(names) != len(there) {
			t.Errorf("%d are described, %d are shown", len(names), len(there))
		}
	})
}

// However long a run goes on and whatever it says, there are no more samples than in the beginning.
//
// Made to fail: with the reason of a wait, or the text of an error, as a label.
func TestNumberOfSamplesIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := whole(t)
		before := gather(t, m)
		p := m.Begin(metrics.Job{Name: "users", Command: "run", Run: 1, Process: "ann"})
		p.Observe(backfill.RunStarted{Run: 1, Job: "users", EstimatedRows: 4000})
		for i := range 500 {
			chunk(p, backfill.Pass(1+i%40), 10, 10)
			p.Observe(backfill.Waiting{Worker: i % 5, Reason: fmt.Sprintf("replica_lag %ds > 10s", i)})
			p.Observe(backfill.Yielded{Worker: 1, To: fmt.Sprintf("pid %d", i)})
			p.Observe(backfill.ChunkFailed{Retry: true, Err: &pgconn.PgError{Code: fmt.Sprintf("%05d", i)}})
			p.Observe(backfill.ProgramSaid{Line: fmt.Sprint(i)})
			p.Observe(backfill.StateChanged{To: backfill.StateRunning, Reason: fmt.Sprint(i)})
		}
		after := gather(t, m)
		for key := range before {
			delete(after, key)
		}
		if len(after) > 0 {
			t.Errorf("there are more samples than before:\n%s", cmp.Diff(map[string]float64{}, after))
		}
	})
}

// It is observed and scraped by many at once; the race detector looks on.
func TestObservedAndScrapedAtOnce(t *testing.T) {
	t.Parallel()
	m := metrics.New("dev")
	th := read(t)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			p := m.Begin(metrics.Job{Name: fmt.Sprint("job", i%2), Command: "run"})
			for range 100 {
				chunk(p, backfill.PassWalk, 1, 1)
				p.Observe(backfill.ChunkFailed{Retry: true, Err: errors.New("no")})
				m.Throttled(th)()
			}
		})
		all.Go(func() {
			for range 25 {
				if _, err := registry.Gather(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
