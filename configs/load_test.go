package configs_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/configs"
)

func TestBuiltInDefaults(t *testing.T) {
	t.Parallel()
	c := newMachine(t).load()
	pace, notes := c.Resolve(backfill.Job{})
	if pace.Workers != 0 { // the plan chooses
		t.Errorf("%d workers by default", pace.Workers)
	}
	pace.Workers = backfill.DefaultPace.Workers
	if diff := cmp.Diff(backfill.DefaultPace, pace); diff != "" || notes != nil {
		t.Errorf("default.yaml and backfill.DefaultPace differ (-code +file):\n%s%v", diff, notes)
	}
	if c.File != "" || c.Log != (configs.Log{Format: "auto", Level: "info"}) || c.ProgressInterval != 5*time.Second || c.StatusInterval != 2*time.Second {
		t.Errorf("got %+v", c)
	}
}

// Each place that can say a pace, from the one that yields to the one that wins.
var places = []struct {
	name string
	say  func(m *machine, job *backfill.Job)
}{
	{"file", func(m *machine, _ *backfill.Job) {
		m.write("work/pgbackfill.yaml", "workers: 11\nrate: 11\nchunk: {target: 11ms}\n")
	}},
	{"job", func(_ *machine, job *backfill.Job) {
		job.Pace = backfill.Pace{Workers: 12, Rate: 12, ChunkTarget: 12 * time.Millisecond}
	}},
	{"environment", func(m *machine, _ *backfill.Job) {
		m.env("PGBACKFILL_WORKERS=13", "PGBACKFILL_RATE=13", "PGBACKFILL_CHUNK_TARGET=13ms")
	}},
	{"flag", func(m *machine, _ *backfill.Job) {
		if err := m.sources.Flags.Parse([]string{"--workers", "14", "--rate=14", "--set", "chunk.target=14ms"}); err != nil {
			m.t.Fatal(err)
		}
	}},
}

func TestPrecedenceOfEachPairOfPlaces(t *testing.T) {
	t.Parallel()
	for low := range places {
		for high := low; high < len(places); high++ {
			t.Run(places[high].name+" over "+places[low].name, func(t *testing.T) {
				t.Parallel()
				m, job := newMachine(t), backfill.Job{}
				places[low].say(m, &job)
				if high != low {
					places[high].say(m, &job)
				}
				pace, _ := m.load().Resolve(job)
				n := 11 + high
				if pace.Workers != n || pace.Rate != float64(n) || pace.ChunkTarget != time.Duration(n)*time.Millisecond {
					t.Errorf("got %d workers, rate %v, target %v; expected %d", pace.Workers, pace.Rate, pace.ChunkTarget, n)
				}
				if pace.LockTimeout != backfill.DefaultPace.LockTimeout {
					t.Errorf("a key nobody said is %v", pace.LockTimeout)
				}
			})
		}
	}
}

func TestPrecedenceWhereThereIsNoJob(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "--log-level", "error")
	m.write("work/pgbackfill.yaml", "log: {level: warn, format: json}\nprogress: {interval: 9s}\n")
	m.env("PGBACKFILL_LOG_LEVEL=debug", "PGBACKFILL_LOG_FORMAT=console")
	c := m.load()
	if c.Log != (configs.Log{Format: "console", Level: "error"}) || c.ProgressInterval != 9*time.Second {
		t.Errorf("got %+v", c)
	}
}

func TestZeroSaidAloudBeatsALowerPlace(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "--rate", "0", "--chunk-rows=0")
	m.write("work/pgbackfill.yaml", "rate: 500\n")
	pace, _ := m.load().Resolve(backfill.Job{Pace: backfill.Pace{Rate: 700, ChunkRows: 5000}})
	if pace.Rate != 0 || pace.ChunkRows != 0 {
		t.Errorf("rate %v and %d rows although the flags say none", pace.Rate, pace.ChunkRows)
	}
}

func TestFirstFileFoundIsTheOnlyOneRead(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.sources.Environ = append(m.sources.Environ, "XDG_CONFIG_HOME="+m.dir+"/xdg")
	// From the last place to the first: each new file hides those before it.
	for i, name := range []string{"etc/config.yaml", "xdg/pgbackfill/config.yaml", "work/pgbackfill.yaml", "named-by-variable.yaml", "named-by-flag.yaml"} {
		path := m.write(name, "workers: "+string(rune('1'+i))+"\n")
		switch name {
		case "named-by-variable.yaml":
			m.env("PGBACKFILL_CONFIG=" + path)
		case "named-by-flag.yaml":
			if err := m.sources.Flags.Parse([]string{"--config", path}); err != nil {
				t.Fatal(err)
			}
		}
		c := m.load()
		if pace, _ := c.Resolve(backfill.Job{}); c.File != path || pace.Workers != 1+i {
			t.Errorf("read %s (%d workers) where %s stands", c.File, pace.Workers, path)
		}
	}
}

func TestHomeWithoutXDG(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	path := m.write("home/.config/pgbackfill/config.yaml", "workers: 7\n")
	if c := m.load(); c.File != path {
		t.Errorf("read %q", c.File)
	}
}

func TestFileThatSomebodyNamedMustBeThere(t *testing.T) {
	t.Parallel()
	wants(t, newMachine(t, "--config", "/nowhere/x.yaml").fails(), "--config", `"/nowhere/x.yaml" cannot be read`, "no such file")
	wants(t, newMachine(t).env("PGBACKFILL_CONFIG=/nowhere/y.yaml").fails(), "PGBACKFILL_CONFIG", `"/nowhere/y.yaml"`)
}

func TestFileThatCannotBeReadIsNotPassedOver(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	if err := os.MkdirAll(m.dir+"/work/pgbackfill.yaml", 0o755); err != nil { // a folder cannot be read, not even by root
		t.Fatal(err)
	}
	wants(t, m.fails(), "work/pgbackfill.yaml", "cannot be read")
}

func TestAcceptedFindingsAddUp(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "--accept", "c-flag,b-both")
	m.write("work/pgbackfill.yaml", "accept: [a-file, b-both]\n")
	m.env("PGBACKFILL_ACCEPT=d-env e-env")
	if diff := cmp.Diff([]string{"a-file", "b-both", "c-flag", "d-env", "e-env"}, m.load().Accept); diff != "" {
		t.Error(diff)
	}
}

func TestAllComplaintsOfAllPlacesAtOnce(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "--workers", "many", "--set", "chunk.target=50", "--set", "lag.max=3")
	m.write("work/pgbackfill.yaml", "wrokers: 3\nlog: {level: loud}\n")
	m.write("etc/config.yaml", "ceilings: {workers: -1}\n")
	m.env("PGBACKFILL_CHUNK_TARGT=50ms", "PGBACKFILL_RATE=fast", "PGBACKFILL_PROGRAMS_ALLOW=perhaps", "PGBACKFILL_PG_BIN=/usr/lib/postgresql")
	_, err := configs.Load(m.sources)
	if !errors.Is(err, backfill.ErrInput) {
		t.Fatalf("got %v", err)
	}
	wants(t, err.Error(),
		`--workers: workers is "many"; expected a whole number from 1 to 1000`,
		`--set chunk.target: chunk.target is "50"; expected a duration with its unit`,
		`--set lag.max: lag.max is "3"; expected a duration`,
		`work/pgbackfill.yaml:1: unknown key "wrokers"`, `did you mean workers?`,
		`work/pgbackfill.yaml:2: log.level is "loud"; expected one of debug, info, warn, error`,
		`etc/config.yaml:1: ceilings.workers is "-1"`,
		`unknown variable PGBACKFILL_CHUNK_TARGT`, `did you mean PGBACKFILL_CHUNK_TARGET?`,
		`PGBACKFILL_RATE: rate is "fast"; expected rows a second`,
		`PGBACKFILL_PROGRAMS_ALLOW: programs.allow is "perhaps"; expected true or false`,
	)
}

func TestEmptyVariableSaysNothing(t *testing.T) {
	t.Parallel()
	m := newMachine(t).env("PGBACKFILL_WORKERS=", "PGBACKFILL_CONFIG=")
	m.write("work/pgbackfill.yaml", "workers: 5\n")
	if pace, _ := m.load().Resolve(backfill.Job{}); pace.Workers != 5 {
		t.Errorf("%d workers", pace.Workers)
	}
}

func TestSameThingSaidTwiceByFlags(t *testing.T) {
	t.Parallel()
	wants(t, newMachine(t, "--workers=4", "--set", "workers=8").fails(), "workers is said twice", "--workers")
}

// Where metrics are shown is said by any place, and a higher one can say that they are not.
//
// Made to fail: without the kind's check of the port, 9187 and :http are taken.
func TestWhereMetricsAreShown(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.write("work/pgbackfill.yaml", "metrics: :9187\n")
	if got := m.load().Metrics; got != ":9187" {
		t.Errorf("the file's: %q", got)
	}
	m.env("PGBACKFILL_METRICS=localhost:9188")
	if got := m.load().Metrics; got != "localhost:9188" {
		t.Errorf("the environment's: %q", got)
	}
	configs.MetricsFlag(m.sources.Flags)
	for _, c := range []struct{ said, want string }{{"off", ""}, {"[::1]:0", "[::1]:0"}} {
		if err := m.sources.Flags.Set("metrics", c.said); err != nil {
			t.Fatal(err)
		}
		if got := m.load().Metrics; got != c.want {
			t.Errorf("--metrics %s is %q", c.said, got)
		}
	}
	for _, wrong := range []string{"9187", ":http", "localhost", ":70000", "http://localhost:9187"} {
		if err := m.sources.Flags.Set("metrics", wrong); err != nil {
			t.Fatal(err)
		}
		if _, err := configs.Load(m.sources); !errors.Is(err, backfill.ErrInput) || !strings.Contains(err.Error(), "--metrics: metrics is ") {
			t.Errorf("--metrics %s: %v", wrong, err)
		}
	}
}
