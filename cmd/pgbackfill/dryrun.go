package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/human"
)

// dryRun carries out chunks and rolls each of them back.
func (a *app) dryRun(ctx context.Context, o backfill.Options, file string, chunks int) error {
	plan := o.Plan
	a.findings(plan.Findings, file)
	if blocking := plan.Blocking(); len(blocking) > 0 {
		return refused(plan, blocking)
	}
	if len(plan.Unresolved) > 0 {
		return &backfill.Error{
			Place: plan.Job.Origin, Found: "a dry run needs what prepare or a helper makes: " + strings.Join(plan.Unresolved, "; "),
			Remedy: "run it for a few chunks instead: pgbackfill run --max-chunks 3 " + file, Kind: backfill.ErrInput,
		}
	}
	var rows, changed int64
	var took time.Duration
	done := 0
	err := backfill.DryRun(ctx, o, chunks, func(c backfill.Chunk) {
		done++
		rows += c.RowsSeen
		changed += c.RowsChanged[0]
		took += c.Duration
		fmt.Fprintf(a.out, "chunk %d, %s: %s, %s would change, %s, rolled back\n",
			done, rangeText(backfill.Segment{Range: c.Range}), human.Plural(c.RowsSeen, "row"), human.Count(c.RowsChanged[0]), c.Duration.Round(time.Millisecond))
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "dry run: %s, %s, %s would change, in %s. Everything was rolled back; nothing is recorded.\n",
		human.Plural(int64(done), "chunk"), human.Plural(rows, "row"), human.Count(changed), took.Round(time.Millisecond))
	return nil
}
