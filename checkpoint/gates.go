package checkpoint

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill/contract"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

const newestGate = `SELECT g.id, g.verdict, g.conditions, g.began_at, g.who, g.run_id, g.spec_hash, g.asserted_at
  FROM pgbackfill.gates AS g WHERE g.job = $1::text ORDER BY g.id DESC LIMIT 1`

// GateInfo is what the gate said, as the database knows it.
type GateInfo struct {
	ID         int64
	Verdict    contract.Verdict
	Conditions []contract.Condition
	At         time.Time
	Who        string
	// Run is the job's newest run then, nil where there was none; SpecHash is of the job that was asked about.
	Run      *int64
	SpecHash string
	// AssertedAt is when a migration relied on it.
	AssertedAt *time.Time
}

// NewestGate returns what the gate of a job said when it was asked last; found is false where it never was.
func (s *Store) NewestGate(ctx context.Context, job string) (g GateInfo, found bool, err error) {
	err = s.once(ctx, settings, step{
		Statement: pgsql.Statement{Name: "gate", SQL: newestGate, Args: [][]byte{pgsql.Text(job)}},
		read: func(rows pgx.Rows) error {
			found = true
			var conditions []byte
			if err := rows.Scan(&g.ID, &g.Verdict, &conditions, &g.At, &g.Who, &g.Run, &g.SpecHash, &g.AssertedAt); err != nil {
				return err
			}
			return json.Unmarshal(conditions, &g.Conditions)
		},
	})
	if err != nil {
		return g, found, fmt.Errorf("reading what the gate of %s said: %w", job, translate(err))
	}
	return g, found, nil
}
