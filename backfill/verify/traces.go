package verify

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// What became of a row is read from two things: the ledger, which says which transaction came to its key and what that
// one saw, and the row's own writer. Transaction ids are never compared by their order, which says nothing of who
// committed when. A part of a transaction (a savepoint, an exception block) has an id of its own that no snapshot names, and
// a row may be written again for another reason; so what is said is likely, and no more.

// traced is a proof over rows of the walked table, whose versions tell something.
type traced interface {
	// traces are the columns that may be wrong; none where it is the rows themselves.
	traces() []pgsql.SetColumn
}

func (v *valuesProof) traces() []pgsql.SetColumn    { return v.change.Set }
func (p *recomputeProof) traces() []pgsql.SetColumn { return p.recompute.Columns() }
func (l leftProof) traces() []pgsql.SetColumn       { return nil }

// trace is what is known of one row.
type trace struct {
	chunks                                     int64
	ours, seen, blind, aside, wasAside, behind bool
	kept, over                                 bool
	writer                                     string
	null                                       map[string]bool
	keyed                                      bool
	run                                        backfill.RunID
}

var (
	savepoint = pgsql.Statement{Name: "savepoint", SQL: "SAVEPOINT pgbackfill_traces"}
	backTo    = pgsql.Statement{Name: "rollback", SQL: "ROLLBACK TO SAVEPOINT pgbackfill_traces"}
)

// classify gives mismatches their classes, in the snapshot in which they were found. Where the ledger cannot be read they
// are unknown: that is no reason not to name them.
func (w *worker) classify(ctx context.Context, r *reading, p piece, rng pgsql.Range, rows []Mismatch) error {
	for i := range rows {
		if rows[i].Class == "" {
			plainly(&rows[i])
		}
	}
	by, ok := p.proof.(traced)
	if !ok || len(rows) == 0 || w.Run == nil || w.from.LedgerRows == nil {
		return nil
	}
	t := w.tracesOf(by)
	var found map[int]trace
	err := fmt.Errorf("not asked yet")
	for err != nil {
		if _, err := r.ask(ctx, savepoint); err != nil {
			return err
		}
		if found, err = tracesIn(ctx, r, t, rng, rows); err == nil {
			break
		}
		if ctx.Err() != nil || r.conn.IsClosed() {
			return err
		}
		if _, undo := r.ask(ctx, backTo); undo != nil {
			return undo
		}
		if t.Capture == nil {
			for i := range rows {
				if rows[i].Class == Unknown {
					rows[i].Evidence = "the ledger could not be looked at: " + described{err}.Error()
				}
			}
			return nil
		}
		t.Capture = nil // the role may see the ledger, and not what was kept
	}
	for i := range rows {
		if t, ok := found[i]; ok && rows[i].Class != BackfillWrong {
			t.behind = t.behind && (w.Run.State.Over() || w.Run.State == backfill.StateFinishing)
			t.judge(&rows[i])
		}
	}
	return nil
}

// tracesOf is the question for the rows of a proof.
func (w *worker) tracesOf(by traced) pgsql.Traces {
	names := make([]string, len(w.Plan.Key))
	for i, k := range w.Plan.Key {
		names[i] = k.Name
	}
	scope := pgsql.Walk{Table: w.Plan.Table.Quoted, Key: w.Plan.Key}
	t := pgsql.Traces{Walk: scope, Run: int64(w.Run.ID), Set: by.traces(), Keyed: w.Plan.Heap == nil && slices.Equal(names, w.Run.Walked)}
	var set []backfill.Assignment
	for _, s := range t.Set {
		set = append(set, backfill.Assignment{Column: s.Name})
	}
	if len(set) > 0 && w.Run.State != backfill.StateUndone && !w.Run.Undoing {
		if h := w.Plan.History(set, false); h != nil {
			t.Capture = &h.Capture
		}
	}
	return t
}

// tracesIn asks for the traces of rows, by their place among them.
func tracesIn(ctx context.Context, r *reading, t pgsql.Traces, rng pgsql.Range, rows []Mismatch) (map[int]trace, error) {
	columns := make([][]*string, len(t.Key))
	for _, m := range rows {
		if len(m.Key) < len(columns) {
			return nil, nil // it is not named by the key
		}
		for i := range columns {
			columns[i] = append(columns[i], m.Key[i])
		}
	}
	answer, err := r.ask(ctx, t.Statement(rng, columns))
	if err != nil {
		return nil, err
	}
	is := func(text *string) bool { return text != nil && *text == "t" }
	found := map[int]trace{}
	for _, row := range answer {
		n, err := strconv.Atoi(*row[0])
		if err != nil {
			return nil, fmt.Errorf("unexpected answer from the server: %w", err)
		}
		one := trace{
			ours: is(row[2]), seen: is(row[3]), blind: is(row[4]), writer: *row[5], aside: is(row[6]), wasAside: is(row[7]), behind: is(row[8]),
			null: map[string]bool{}, keyed: t.Keyed, run: backfill.RunID(t.Run),
		}
		if one.chunks, err = strconv.ParseInt(*row[1], 10, 64); err != nil {
			return nil, fmt.Errorf("unexpected answer from the server: %w", err)
		}
		for i, s := range t.Set {
			one.null[s.Name] = is(row[9+i])
		}
		one.kept, one.over = is(row[9+len(t.Set)]), is(row[10+len(t.Set)])
		if by := row[len(row)-1]; by != nil {
			one.writer += " (" + strings.Join(strings.Fields(*by), " ") + ")"
		}
		found[n-1] = one
	}
	return found, nil
}

// judge gives a row that is not as it should be the class that its traces speak for.
func (t trace) judge(m *Mismatch) {
	say := func(class Class, format string, args ...any) {
		m.Class, m.Confidence, m.Evidence = class, Likely, fmt.Sprintf(format, args...)
	}
	nulls := len(m.Columns) > 0
	for _, name := range m.Columns {
		nulls = nulls && t.null[name]
	}
	switch {
	case t.aside:
		say(NeverBackfilled, "run %d could not change it: it is in quarantine", t.run)
	case t.ours:
		say(BackfillWrong, "transaction %s wrote it, a chunk of run %d", t.writer, t.run)
	case t.wasAside:
		m.Evidence = fmt.Sprintf("run %d set it aside and did it later, of which the ledger has no chunk", t.run)
	case t.keyed && t.chunks == 0 && t.behind && m.Kind == Different:
		say(DualWriteMissed, "transaction %s wrote the row when run %d had ended, and its key is outside of what that walked", t.writer, t.run)
		if !nulls {
			m.Class = DualWriteWrong
		}
	case t.keyed && t.chunks == 0:
		say(NeverBackfilled, "no chunk of run %d came to its key", t.run)
	case t.seen:
		say(NeverBackfilled, "a chunk of run %d saw the row as transaction %s wrote it, and left it so", t.run, t.writer)
	case !t.keyed && !t.behind: // else every chunk had been done by then, wherever it was
		m.Evidence = fmt.Sprintf("transaction %s wrote it, no chunk of run %d; the run did not walk by this key, so its ledger does not tell when it came by", t.writer, t.run)
	case t.blind:
		m.Evidence = fmt.Sprintf("transaction %s wrote it; what the chunk of run %d saw is not in the ledger", t.writer, t.run)
	case m.Kind == Extra:
		m.Evidence = fmt.Sprintf("transaction %s wrote it behind the chunk of run %d", t.writer, t.run)
	case t.kept && !t.over:
		say(DualWriteMissed, "transaction %s wrote the row behind the chunk of run %d, and the columns hold what the run wrote", t.writer, t.run)
	case nulls && !t.kept:
		say(DualWriteMissed, "transaction %s wrote the row behind the chunk of run %d, and left it empty", t.writer, t.run)
	case t.kept:
		say(DualWriteWrong, "transaction %s wrote the row behind the chunk of run %d, and the columns hold something else than the run wrote", t.writer, t.run)
	default:
		say(DualWriteWrong, "transaction %s wrote the row behind the chunk of run %d; where it only left the columns as they were it is a dual write that was missed, which undo: capture tells apart", t.writer, t.run)
	}
}
