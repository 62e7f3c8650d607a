package backfill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// contest is an unfinished run of another job that writes columns which this one writes too.
type contest struct {
	run     string
	job     string
	state   string
	columns []string
}

// readContests finds out which other jobs are writing the columns that this one writes. Where the engine's tables cannot be read there is no
// run of this role's either, and who may not read them is told so when the run begins.
func (pl *planning) readContests(ctx context.Context) error {
	written := pl.written()
	if !pl.activity.Schema || len(written) == 0 {
		return nil
	}
	answers, err := pl.ask(ctx, pl.jobPins(), pgsql.UnfinishedRuns(pl.plan.Table.OID, []string{pl.plan.Job.Name, pl.plan.Job.Undoes}))
	if server := (*pgconn.PgError)(nil); errors.As(err, &server) && slices.Contains([]string{"42501", "42P01", "42703"}, server.Code) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, row := range answers[0].rows {
		var other Job
		if err := json.Unmarshal([]byte(row[3]), &other); err != nil { // of a newer version
			continue
		}
		c := contest{run: row[0], job: row[1], state: row[2]}
		for _, a := range other.targets() {
			if slices.Contains(written, a.Column) && !slices.Contains(c.columns, a.Column) {
				c.columns = append(c.columns, a.Column)
			}
		}
		if len(c.columns) > 0 {
			pl.contests = append(pl.contests, c)
		}
	}
	return nil
}

func (pl *planning) columnContested() *noticed {
	if len(pl.contests) == 0 {
		return nil
	}
	var evidence []string
	for _, c := range pl.contests {
		evidence = append(evidence, fmt.Sprintf("run %s of job %s is %s and writes %s", c.run, c.job, c.state, strings.Join(c.columns, ", ")))
	}
	return &noticed{
		"another job's unfinished run writes the same column: which of the two values a row keeps is chance",
		some(evidence),
		fmt.Sprintf("let it finish, or end it: pgbackfill cancel %s; where the two are about different rows, --accept column-contested", pl.contests[0].job),
	}
}
