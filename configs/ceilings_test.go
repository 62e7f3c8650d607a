package configs_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbackfill/pgbackfill/backfill"
)

const operators = `ceilings:
  workers: 4
  rate: 5k
  chunk: {target: 50ms, max_rows: 2000}
  timeouts: {lock: 500ms, statement: 10s, idle: 5s}
`

func TestNobodyExceedsTheCeilings(t *testing.T) {
	t.Parallel()
	job := backfill.Job{Origin: "users.yaml", Pace: backfill.Pace{Workers: 16, ChunkRows: 9000, LockTimeout: time.Minute}}
	m := newMachine(t, "--chunk-target", "2s").env("PGBACKFILL_RATE=90k")
	file := m.write("etc/config.yaml", operators)
	pace, notes := m.load().Resolve(job)
	want := backfill.Pace{
		Workers: 4, Rate: 5000, ChunkRows: 2000, ChunkTarget: 50 * time.Millisecond, ChunkMaxRows: 2000,
		LockTimeout: 500 * time.Millisecond, StatementTimeout: 10 * time.Second, IdleTimeout: 5 * time.Second, TransformTimeout: 30 * time.Second, ConnectTimeout: 10 * time.Second,
		MaxQuarantined: 100,
	}
	if diff := cmp.Diff(want, pace); diff != "" {
		t.Error(diff)
	}
	text := strings.Join(notes, "\n")
	wants(t, text,
		"workers: 16 asked for by users.yaml, 4 allowed by "+file+":2: using 4",
		"rate: 90000 rows/s asked for by PGBACKFILL_RATE, 5000 rows/s allowed by "+file+":3: using 5000 rows/s",
		"chunk.target: 2s asked for by --chunk-target, 50ms allowed by "+file+":4: using 50ms",
		"chunk.rows: 9000 asked for by users.yaml, 2000 allowed",
		"chunk.max_rows: 50000 asked for by the built-in default, 2000 allowed",
		"timeouts.lock: 1m0s asked for by users.yaml, 500ms allowed",
		"timeouts.statement: 30s asked for by the built-in default, 10s allowed",
		"timeouts.idle: 10s asked for by the built-in default, 5s allowed")
	if len(notes) != 8 {
		t.Errorf("%d notes:\n%s", len(notes), text)
	}
}

func TestLessThanTheCeilingsIsLeftAlone(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.write("etc/config.yaml", operators)
	ask := backfill.Pace{
		Workers: 3, Rate: 100, ChunkRows: 50, ChunkTarget: time.Millisecond, ChunkMaxRows: 100,
		LockTimeout: time.Millisecond, StatementTimeout: time.Second, IdleTimeout: time.Second, ConnectTimeout: time.Hour, SynchronousCommit: "off", MaxQuarantined: 7,
	}
	got, notes := m.load().Clamp(ask)
	if diff := cmp.Diff(ask, got); diff != "" || notes != nil {
		t.Errorf("%s%v", diff, notes)
	}
}

func TestCeilingOfTheRateIsTheRateWhereNobodyAsks(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{0, backfill.Off} {
		m := newMachine(t)
		file := m.write("etc/config.yaml", "ceilings: {rate: 700}\n")
		got, notes := m.load().Clamp(backfill.Pace{Rate: rate})
		if got.Rate != 700 {
			t.Errorf("rate %v", got.Rate)
		}
		if rate == 0 {
			if notes != nil {
				t.Errorf("nobody asked, and is told %q", notes)
			}
			continue
		}
		wants(t, strings.Join(notes, "\n"), "rate: no limit asked for, 700 rows/s allowed by "+file+":1: using 700 rows/s")
	}
}

func TestClampWithoutCeilingsSettles(t *testing.T) {
	t.Parallel()
	got, notes := newMachine(t).load().Clamp(backfill.Pace{Workers: 900, Rate: backfill.Off, ChunkRows: backfill.Off})
	if !reflect.DeepEqual(got, backfill.Pace{Workers: 900}) || notes != nil {
		t.Errorf("got %+v, %v", got, notes)
	}
}

// A job's author cannot lift the operator's ceilings by a file beside the job, or by the environment.
func TestLowestCeilingOfAllPlacesHolds(t *testing.T) {
	t.Parallel()
	m := newMachine(t).env("PGBACKFILL_CEILINGS_WORKERS=3", "PGBACKFILL_CEILINGS_RATE=0")
	m.write("etc/config.yaml", operators)
	beside := m.write("work/pgbackfill.yaml", "ceilings: {workers: 900, rate: 200k, chunk: {max_rows: 1500}}\n")
	c := m.load()
	got, notes := c.Clamp(backfill.Pace{Workers: 16, Rate: 50_000, ChunkRows: 5000})
	if c.File != beside || got.Workers != 3 || got.Rate != 5000 || got.ChunkRows != 1500 {
		t.Errorf("with %s: %+v", c.File, got)
	}
	wants(t, strings.Join(notes, "\n"), "allowed by PGBACKFILL_CEILINGS_WORKERS", "allowed by "+beside+":1")
}

// `set workers=3` is not refused because a default is above a ceiling.
func TestClampOfALiveChangeSpeaksOnlyOfWhatItSays(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.write("etc/config.yaml", operators)
	c := m.load()
	if _, notes := c.Clamp(backfill.Pace{Workers: 3}); notes != nil {
		t.Errorf("got %q", notes)
	}
	if _, notes := c.Clamp(backfill.Pace{Workers: 5}); len(notes) != 1 {
		t.Errorf("got %q", notes)
	}
}
