package throttle

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// slotRetention is what the worst replication slot keeps of the log, whoever should read it: a standby or a subscriber of
// changes.
type slotRetention struct {
	query  Querier
	limits func() Limits
}

func (slotRetention) Name() string { return "slot_retention" }
func (slotRetention) Class() Class { return Gating }

func (s slotRetention) Read(ctx context.Context) (Reading, error) {
	l := s.limits().Slots
	if l.MaxBytes <= 0 {
		return Reading{Off: true, Note: "slots.max_bytes is off"}, nil
	}
	rows, err := s.query.Query(ctx, pgsql.SlotRetention())
	if err != nil {
		return Reading{}, err
	}
	worst := Reading{Off: true, Note: "there is no replication slot"}
	for _, row := range rows {
		name, kept := text(row[0]), row[4]
		if kept == nil || slices.Contains(l.Ignore, name) {
			continue // lost slots and new ones keep nothing
		}
		bytes, err := strconv.ParseFloat(*kept, 64)
		if err != nil {
			return Reading{}, fmt.Errorf("what slot %s keeps is %q; expected a number of bytes", name, *kept)
		}
		detail := fmt.Sprintf("%s slot %s", text(row[1]), name)
		if !flag(row[2]) {
			detail += ", nobody reads it"
		}
		if worst.Off || bytes > worst.Value {
			worst = Reading{Value: max(bytes, 0), Limit: float64(l.MaxBytes), Unit: Bytes, Detail: detail}
		}
	}
	return worst, nil
}
