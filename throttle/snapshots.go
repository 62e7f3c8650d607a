package throttle

import (
	"context"
	"fmt"
	"strconv"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// warnAt is the part of its limit from which on the age of a transaction is noted.
const warnAt = 0.5

// oldSnapshot is the age of the oldest transaction of others that keeps old row versions: while there is one, what we
// update cannot be cleaned up, and the table grows.
type oldSnapshot struct {
	query  Querier
	limits func() Limits
}

func (oldSnapshot) Name() string { return "old_snapshot" }
func (oldSnapshot) Class() Class { return Gating }

func (s oldSnapshot) Read(ctx context.Context) (Reading, error) {
	l := s.limits()
	if l.SnapshotMaxAge <= 0 {
		return Reading{Off: true, Note: "snapshots.max_age is off"}, nil
	}
	rows, err := s.query.Query(ctx, pgsql.OldestTransaction())
	if err != nil {
		return Reading{}, err
	}
	if len(rows) != 1 {
		return Reading{}, fmt.Errorf("an answer of %d rows; expected one", len(rows))
	}
	row := rows[0]
	hidden, err := strconv.ParseInt(text(row[0]), 10, 64)
	if err != nil {
		return Reading{}, fmt.Errorf("the number of sessions that are not seen: %w", err)
	}
	note := ""
	if hidden > 0 {
		if l.Unmonitored != Accept {
			return Reading{}, noPrivilege(text(row[1]), "since when the transactions of "+plural(hidden, "other session", "other sessions")+" are open")
		}
		note = plural(hidden, "session is", "sessions are") + unmonitored
	}
	r := Reading{Limit: l.SnapshotMaxAge.Seconds(), Unit: Seconds, Note: note}
	if row[2] == nil {
		return r, nil
	}
	if r.Value, err = strconv.ParseFloat(*row[2], 64); err != nil {
		return Reading{}, fmt.Errorf("a transaction of the age %q; expected seconds", *row[2])
	}
	r.Value, r.Detail = max(r.Value, 0), text(row[3])
	if r.Utilisation() >= warnAt {
		r.Note = "old row versions cannot be removed while it is open"
	}
	return r, nil
}
