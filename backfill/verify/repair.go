package verify

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// RepairOptions are what a repair needs.
type RepairOptions struct {
	// Options are those of the verification whose rows are repaired; of them Plan, Checks, Connect, Run, Throttle
	// and Observer are used, which is told of each row as of a chunk.
	Options
	// Rows are those that the verification named, each with the check that found it.
	Rows []Mismatch
	// Apply writes; else it is only said what would be written.
	Apply bool
	// Voids are the statements that make every verification of the job void, in each transaction that writes. They are
	// sent last.
	Voids []pgsql.Statement
}

// Repaired is what a repair came to. It says nothing of other rows, and is no verification: a new one is needed.
type Repaired struct {
	// Applied is set where rows were written; else Mended counts those that would have been.
	Applied bool  `json:"applied"`
	Mended  int64 `json:"repaired"`
	// Skipped counts those that were left alone.
	Skipped int64 `json:"skipped"`
	// Rows are all of them, in the order of the verification.
	Rows []RepairedRow `json:"rows"`
}

// RepairedRow is what became of one row.
type RepairedRow struct {
	Check string    `json:"check"`
	Key   []*string `json:"key"`
	// Repaired is set where it was, or would be; else Why says why it was left alone.
	Repaired bool   `json:"repaired"`
	Why      string `json:"why,omitempty"`
}

// repairing is a proof that can also make a row what it should be.
type repairing interface {
	// repairs are the statements for a part, the last of which says how many rows it changed.
	repairs(p pgsql.Part) ([]pgsql.Statement, error)
}

func (v *valuesProof) repairs(p pgsql.Part) ([]pgsql.Statement, error) {
	c := v.change
	c.SkipUnchanged, c.LockFirst = true, v.reads || c.From != ""
	return c.Statements(p)
}

func (l leftProof) repairs(p pgsql.Part) ([]pgsql.Statement, error) {
	return pgsql.Delete{Scope: l.scope, Name: "delete"}.Statements(p)
}

// Why a row is left alone.
const (
	whyGone      = "the row is not there any more"
	whyChanged   = "somebody has changed the row since: verify again"
	whyRight     = "it is as it should be by now"
	whyNoVersion = "the verification could not tell which row it is: several have this key"
	whyPersists  = "it is wrong again as soon as it is written: look for a trigger or a rule on the table"
	whyManually  = "what is missing, or of another table, has to be mended by hand, or by a new run"
	whyHistory   = "it is held against what the row was before the run: mend it by hand, or take the run back"
	whyLocked    = "somebody holds a lock on the row: try again"
)

// errLeftAlone ends a row's transaction without a change.
type errLeftAlone struct{ why string }

func (e errLeftAlone) Error() string { return e.why }

// Repair makes rows that a verification named what they should be, one at a time, each under a lock and in a transaction of
// its own. A row that is not the very version that was found to be wrong is left alone. The error is of what stopped it;
// what was repaired before stays, and is in the result.
func Repair(ctx context.Context, o RepairOptions) (Repaired, error) {
	out := Repaired{Applied: o.Apply}
	proofs := map[string]proof{}
	for _, c := range o.Checks {
		if c.Kind == KindDistant {
			continue // what is right is elsewhere
		}
		c = historic(o.Options, c)
		p, err := proofOf(o.Options, c)
		if err != nil {
			return out, err
		}
		proofs[c.Name] = p
	}
	s := newSession(o.Options)
	defer s.close(ctx)
	for _, m := range o.Rows {
		row := RepairedRow{Check: m.Check, Key: m.Key}
		begun, changed := time.Now(), int64(0)
		err := o.repair(ctx, s, proofs[m.Check], m)
		var alone errLeftAlone
		switch {
		case err == nil:
			row.Repaired = true
			if out.Mended++; o.Apply {
				changed = 1
			}
		case errors.As(err, &alone):
			row.Why = alone.why
			out.Skipped++
		default:
			return out, err
		}
		out.Rows = append(out.Rows, row)
		if o.Observer != nil {
			done := backfill.Chunk{RowsSeen: 1, RowsChanged: []int64{changed}, Started: begun, Duration: time.Since(begun)}
			o.Observer(backfill.ChunkCommitted{Worker: 1, Chunk: done, Pass: backfill.PassWalk})
		}
	}
	return out, nil
}

// repair does one row, again where what kept it from it passes.
func (o RepairOptions) repair(ctx context.Context, s *session, p proof, m Mismatch) error {
	by, ok := p.(repairing)
	if v, is := p.(*valuesProof); is && v.change.History != nil {
		return errLeftAlone{whyHistory}
	}
	if _, is := p.(deletedProof); is && m.Kind != Extra || !ok || m.Kind == Missing {
		return errLeftAlone{whyManually}
	}
	at, ok := keyOf(m)
	if !ok || m.Version == "" || o.Plan.Heap != nil {
		return errLeftAlone{whyNoVersion}
	}
	if o.Throttle != nil {
		if err := o.Throttle.Wait(ctx, 1); err != nil {
			return err
		}
	}
	for try := 1; ; try++ {
		err := s.write(ctx, o.Apply, p.finding(), func(r *reading) error { return o.inside(ctx, r, by, p, pgsql.Range{At: at}, m) })
		var alone errLeftAlone
		if err == nil || errors.As(err, &alone) || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		err = o.Plan.Hide(err)
		switch class := pgerr.Class(err); {
		case (class == pgerr.Retry || class == pgerr.Resource) && try < tries:
			if err := pause(ctx, time.Duration(1<<try)*25*time.Millisecond); err != nil {
				return err
			}
		case pgerr.Code(err) == "55P03":
			return errLeftAlone{whyLocked}
		case class == pgerr.Data || class == pgerr.Shrink:
			return errLeftAlone{pgerr.Describe(err)}
		default:
			return &backfill.Error{Place: "job " + o.Plan.Job.Name, Found: "a row cannot be repaired", Err: described{err}}
		}
	}
}

// keyOf is the whole key of a row; false where a part of it is NULL.
func keyOf(m Mismatch) (backfill.Key, bool) {
	key := make(backfill.Key, len(m.Key))
	for i, text := range m.Key {
		if text == nil {
			return nil, false
		}
		key[i] = *text
	}
	return key, len(key) > 0
}

// inside is what is done about a row in its transaction.
func (o RepairOptions) inside(ctx context.Context, r *reading, by repairing, p proof, at pgsql.Range, m Mismatch) error {
	rows, err := r.ask(ctx, pgsql.Walk{Table: o.Plan.Table.Quoted, Key: o.Plan.Key}.Version(at, o.Apply))
	switch {
	case err != nil:
		return err
	case len(rows) == 0:
		return errLeftAlone{whyGone}
	case len(rows) > 1:
		return errLeftAlone{whyNoVersion}
	case *rows[0][0] != m.Version:
		return errLeftAlone{whyChanged}
	}
	part := pgsql.Part{Range: at}
	wrong, err := o.wrong(ctx, r, p, part)
	switch {
	case err != nil:
		return err
	case wrong == 0:
		return errLeftAlone{whyRight}
	case !o.Apply:
		return nil
	}
	statements, err := by.repairs(part)
	if err != nil {
		return err
	}
	for _, st := range statements {
		if _, err := r.ask(ctx, st); err != nil {
			return err
		}
	}
	if wrong, err = o.wrong(ctx, r, p, part); err != nil {
		return err
	}
	if wrong > 0 {
		return errLeftAlone{whyPersists}
	}
	for _, st := range o.Voids {
		if _, err := r.ask(ctx, st); err != nil {
			return err
		}
	}
	return nil
}

// wrong counts the rows of a part that are not as they should be, as of now.
func (o RepairOptions) wrong(ctx context.Context, r *reading, p proof, part pgsql.Part) (int64, error) {
	part.Reading = true
	c, err := p.count(ctx, r, part)
	return c.mismatches(), err
}

// versions notes which version of a row was found to be wrong, so that a repair knows it again.
func (w *worker) versions(ctx context.Context, r *reading, p piece, rows []Mismatch) error {
	if _, ok := p.proof.(repairing); !ok || len(rows) == 0 || w.Record == nil {
		return nil
	}
	columns := make([][]*string, len(w.Plan.Key))
	for _, m := range rows {
		for i := range columns {
			columns[i] = append(columns[i], m.Key[i])
		}
	}
	answer, err := r.ask(ctx, pgsql.Walk{Table: w.Plan.Table.Quoted, Key: w.Plan.Key}.Versions(columns))
	if err != nil {
		return err
	}
	for _, row := range answer {
		n, err := strconv.Atoi(*row[0])
		if err != nil {
			return fmt.Errorf("unexpected answer from the server: %w", err)
		}
		if *row[2] == "1" {
			rows[n-1].Version = *row[1]
		}
	}
	return nil
}
