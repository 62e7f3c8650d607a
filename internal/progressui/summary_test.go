package progressui_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/progressui"
)

// Made to fail: with retries said whatever was applied, a run of no chunk said that each was.
func TestSummary(t *testing.T) {
	t.Parallel()
	full := backfill.Summary{
		Run: 12, Job: "users", State: backfill.StateFinished, Chunks: 1020, RowsSeen: 10_000_000, RowsChanged: 9_870_123,
		SweepChanged: 12, Unmatched: 1204, Multiple: 1, Retries: 3, Elapsed: 321 * time.Second,
	}
	part := backfill.Summary{Run: 12, Job: "users", State: backfill.StateRunning, Chunks: 1, RowsSeen: 1, Elapsed: time.Second}
	for _, c := range []struct {
		name    string
		summary backfill.Summary
		err     error
		next    string
		want    string
	}{
		{"finished", full, nil, "pgbackfill status users", `
users: finished in 5m21s (run 12)
  done      10 000 000 rows walked, 9 870 123 changed, in 1 020 chunks
            12 rows of these by the closing sweep: they were committed behind the walk
            chunks were tried again 3 times, and each applied once
  not done  1 204 rows in scope matched by nothing in ` + "`from`" + `: unchanged
            1 row in scope matched more than once in ` + "`from`" + `: which match won is not defined
  next      pgbackfill status users
`},
		{
			"interrupted", part, &backfill.Error{Place: "run 12", Found: "stopped between two chunks", Remedy: "run it again to go on", Kind: backfill.ErrInterrupted},
			"pgbackfill run users.yaml", `
users: interrupted after 1.0s, it can be resumed (run 12)
  done      1 row walked, 0 changed, in 1 chunk
  not done  the rest of the table
  why       stopped between two chunks
  next      pgbackfill run users.yaml
`,
		},
		{
			"resumed, and interrupted when all was walked", backfill.Summary{
				Run: 12, Job: "users", State: backfill.StateRunning, Chunks: 40, RowsSeen: 400, RowsChanged: 300, Elapsed: 2 * time.Second, Resumed: true, OwnChunks: 7, Walked: true,
			}, &backfill.Error{Found: "stopped between two chunks", Kind: backfill.ErrInterrupted}, "pgbackfill run users.yaml", `
users: interrupted after 2.0s, it can be resumed (run 12)
  done      the run as a whole: 400 rows walked, 300 changed, in 40 chunks
            this process: 7 chunks in 2.0s
  not done  what follows the walk: rows that came meanwhile
  why       stopped between two chunks
  next      pgbackfill run users.yaml
`,
		},
		{"cancelled", with(part, backfill.StateCancelled, "cancelled by ann"), backfill.ErrCancelled, "", `
users: cancelled after 1.0s (run 12)
  done      1 row walked, 0 changed, in 1 chunk
  not done  the rest of the table: what was committed stays, the run takes no more
  why       cancelled
`},
		{"failed", with(part, backfill.StateFailed, ""), errors.New("column \"x\" is gone"), "", `
users: stopped by an error after 1.0s, it can be resumed (run 12)
  done      1 row walked, 0 changed, in 1 chunk
  not done  the rest of the table: what was committed stays, and the next run goes on from there
  why       column "x" is gone
`},
		{"not one chunk", backfill.Summary{Run: 12, Job: "users", State: backfill.StatePaused, Retries: 10, Elapsed: time.Second}, nil, "", `
users: paused after 1.0s (run 12)
  done      0 rows walked, 0 changed, in 0 chunks
            chunks were tried again 10 times, and none applied
  not done  the rest of the table: what was committed stays, and the next run goes on from there
`},
		{"paused", with(part, backfill.StatePaused, "paused by ann"), nil, "", `
users: paused after 1.0s (run 12)
  done      1 row walked, 0 changed, in 1 chunk
  not done  the rest of the table: what was committed stays, and the next run goes on from there
  why       paused by ann
`},
	} {
		var b strings.Builder
		progressui.Summary(&b, c.summary, c.err, c.next)
		if diff := cmp.Diff(c.want, "\n"+b.String()); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
	}
}

func with(s backfill.Summary, state backfill.State, reason string) backfill.Summary {
	s.State, s.Reason = state, reason
	return s
}
