package configs_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/configs"
)

func TestParseLimits(t *testing.T) {
	t.Parallel()
	got, err := configs.ParseLimits([]string{
		"workers=4", "rate=2.5k", "chunk.rows=10_000", "chunk.target=50ms", "chunk.max_rows=1M",
		"timeouts.lock=500ms", "timeouts.statement=1m", "timeouts.idle=5s", "timeouts.connect=3s", "synchronous_commit=off", "max_quarantined=5k",
	})
	want := backfill.Pace{
		Workers: 4, Rate: 2500, ChunkRows: 10_000, ChunkTarget: 50 * time.Millisecond, ChunkMaxRows: 1_000_000,
		LockTimeout: 500 * time.Millisecond, StatementTimeout: time.Minute, IdleTimeout: 5 * time.Second, ConnectTimeout: 3 * time.Second,
		SynchronousCommit: "off", MaxQuarantined: 5000,
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseLimitsSaysNoneAloud(t *testing.T) {
	t.Parallel()
	for _, list := range [][]string{{"rate=0", "chunk.rows=0"}, {"rate=off", "chunk.rows=auto"}, {" rate = none ", "chunk.rows=off"}} {
		got, err := configs.ParseLimits(list)
		if err != nil {
			t.Fatal(err)
		}
		if got.Rate != backfill.Off || got.ChunkRows != backfill.Off {
			t.Errorf("%v is %+v", list, got)
		}
		base := backfill.Pace{Rate: 100, ChunkRows: 100, Workers: 3}
		if over := got.Over(base).Settled(); over.Rate != 0 || over.ChunkRows != 0 || over.Workers != 3 {
			t.Errorf("%v over %+v is %+v", list, base, over)
		}
	}
	if got, err := configs.ParseLimits(nil); err != nil || !reflect.DeepEqual(got, backfill.Pace{}) {
		t.Errorf("nothing is %+v, %v", got, err)
	}
}

func TestParseLimitsRefuses(t *testing.T) {
	t.Parallel()
	for limit, part := range map[string]string{
		"worker=4":               "did you mean workers=4?",
		"workers":                `"workers" has no value; expected key=value`,
		"workers=":               `workers is ""`,
		"workers=0":              "from 1 to 1000",
		"workers=1e3":            "from 1 to 1000",
		"rate=-5":                "or 0 for no limit",
		"rate=NaN":               `rate is "NaN"`,
		"rate=Inf":               `rate is "Inf"`,
		"rate=0x10":              `rate is "0x10"`,
		"chunk.rows=2.5":         "a number of rows",
		"chunk.target=100":       "a duration with its unit",
		"chunk.target=-1s":       "a duration with its unit",
		"chunk.target=1us":       "a duration with its unit",
		"synchronous_commit=yes": "one of on, off, local, remote_write, remote_apply",
		"lag.max=3":              `lag.max is "3"; expected a duration`,
		"lag.mix=3s":             "did you mean lag.max=3s?",
		"window=x":               `window is "x"; expected times to work`,
		"dsn=postgres://x":       `unknown key "dsn"`,
		"ceilings.workers=99":    `unknown key "ceilings.workers"`,
		"log.level=debug":        `unknown key "log.level"`,
	} {
		_, err := configs.ParseLimits([]string{limit})
		if !errors.Is(err, backfill.ErrInput) {
			t.Errorf("%s: got %v", limit, err)
			continue
		}
		wants(t, err.Error(), part)
	}
	_, err := configs.ParseLimits([]string{"rate=1", "workers=x", "rate=2", "nothing=3"})
	if err == nil {
		t.Fatal("accepted")
	}
	wants(t, err.Error(), `workers is "x"`, "rate is said twice", `unknown key "nothing"`)
}
