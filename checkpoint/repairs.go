package checkpoint

import (
	"context"
	"fmt"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Repair is a repair of rows that a verification named, on record.
type Repair struct {
	store *Store
	id    int64
	job   string
}

// BeginRepair writes down that the rows which a verification of a job named are being repaired.
func (s *Store) BeginRepair(ctx context.Context, verification int64, job string) (*Repair, error) {
	r := &Repair{store: s, job: job}
	err := s.transact(ctx, settings, func(t *tx) error {
		return t.send(step{
			Statement: pgsql.Statement{Name: "repair", SQL: insertRepair, Args: [][]byte{
				pgsql.Int(verification), pgsql.Text(job), pgsql.Text(s.who), pgsql.Text(s.version),
			}},
			read: one(&r.id),
		})
	})
	if err != nil {
		return nil, fmt.Errorf("recording the repair: %w", translate(err))
	}
	return r, nil
}

// Voids is the statement that makes all verifications of the job void, in a transaction that repairs a row.
func (r *Repair) Voids() pgsql.Statement {
	return pgsql.Statement{Name: "void", SQL: voidVerifications, Args: [][]byte{
		pgsql.Text(r.job), pgsql.Int(r.id), pgsql.Text(fmt.Sprintf("repair %d by %s", r.id, r.store.who)),
	}}
}

// End writes down that it is over, and how many rows it left alone.
func (r *Repair) End(ctx context.Context, skipped int64) error {
	err := r.store.once(ctx, durableSettings, step{Statement: pgsql.Statement{Name: "repair ended", SQL: endRepair, Args: [][]byte{pgsql.Int(r.id), pgsql.Int(skipped)}}})
	if err != nil {
		return fmt.Errorf("recording that repair %d is over: %w", r.id, translate(err))
	}
	return nil
}
