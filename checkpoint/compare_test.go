package checkpoint

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/catalog"
)

func TestCompare(t *testing.T) {
	t.Parallel()
	db := installed(t)
	s := open(t, db, Options{Version: "v1.2.3"})
	create(t, s, planned("same", 100))
	info := state(t, s, "same")
	for name, tc := range map[string]struct {
		change  func(*backfill.Plan)
		version string
		want    []Difference
	}{
		"nothing": {version: "1.2.9"},
		"pace and prose": {version: "dev", change: func(p *backfill.Plan) {
			p.Job.Pace.Workers, p.Job.Description, p.Pace.Rate = 9, "other", 5
		}},
		"version": {version: "1.3.0", want: []Difference{{"tool", "v1.2.3", "1.3.0"}}},
		"job": {version: "1.2.3", change: func(p *backfill.Plan) {
			p.Job.UpdateStep().Set[0].Value.SQL = "upper(t.name)"
			p.Job.Where = &backfill.Expr{SQL: "t.id > 5"}
			p.Job.Idempotent = false
		}, want: []Difference{
			{"job: idempotent", "true", "false"},
			{"job: update.set.name", "initcap(t.name)", "upper(t.name)"},
			{"job: where", "(none)", "t.id > 5"},
		}},
		"table": {version: "1.2.3", change: func(p *backfill.Plan) {
			p.Fingerprint = map[string]string{"column id": "integer", "column email": "text"}
		}, want: []Difference{{"table: column email", "(none)", "text"}, {"table: column id", "bigint", "integer"}}},
		"another table of that name": {
			version: "1.2.3", change: func(p *backfill.Plan) { p.Table = catalog.Table{OID: 17000, Schema: "public", Name: "users"} },
			want: []Difference{{"table: identity", "public.users with OID 0", "public.users with OID 17000"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			plan := planned("same", 100)
			if tc.change != nil {
				tc.change(plan)
			}
			got := Compare(info, plan, tc.version)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			err := Changed(info, got)
			if (err == nil) != (len(tc.want) == 0) {
				t.Fatal(err)
			}
			if err != nil {
				wants(t, err, "run 1 of same", got[0].What, got[0].Was, got[0].Is, "--again")
				if !errors.Is(err, backfill.ErrChanged) {
					t.Errorf("%v is not an ErrChanged", err)
				}
			}
		})
	}
}

func TestProgressAndRate(t *testing.T) {
	t.Parallel()
	live := func(rate float64) []Process {
		return []Process{{Live: true, Workers: 4, RowsPerSecond: rate}, {Live: false, Workers: 9, RowsPerSecond: 1e9}}
	}
	for name, tc := range map[string]struct {
		info      RunInfo
		progress  float64
		rate      float64
		remaining time.Duration
	}{
		"in the middle": {RunInfo{Totals: Totals{Segments: 2, PassSeen: 500, PassExpected: 1000}, Processes: live(100)}, 0.5, 100, 5 * time.Second},
		"paused: what four workers did while they were busy": {
			RunInfo{Totals: Totals{Segments: 2, RowsSeen: 500, PassSeen: 500, PassExpected: 1000, Busy: 10 * time.Second}, Processes: live(0)}, 0.5, 200, 2500 * time.Millisecond,
		},
		"more rows than estimated, and not done":    {RunInfo{Totals: Totals{Segments: 2, SegmentsDone: 1, PassSeen: 1000, PassExpected: 1000}, Processes: live(100)}, 0.999, 100, 0},
		"fewer rows than estimated, and done":       {RunInfo{Totals: Totals{Segments: 2, SegmentsDone: 2, PassSeen: 10, PassExpected: 10}, Processes: live(100)}, 1, 100, 0},
		"nothing is known":                          {RunInfo{}, 0, 0, 0},
		"a table without rows, when it is finished": {RunInfo{State: backfill.StateFinished}, 1, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.info.Progress(); got != tc.progress {
				t.Errorf("progress %v, want %v", got, tc.progress)
			}
			if got := tc.info.RowsPerSecond(); got != tc.rate {
				t.Errorf("rate %v, want %v", got, tc.rate)
			}
			if got, _ := tc.info.Remaining(); got != tc.remaining {
				t.Errorf("remaining %v, want %v", got, tc.remaining)
			}
		})
	}
}
