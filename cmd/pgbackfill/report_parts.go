package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/backfill/verify"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
	"github.com/pgbackfill/pgbackfill/internal/report"
)

const (
	// seriesSteps is how many points the course of a run has.
	seriesSteps = 120
	// mismatchesRead bounds how many recorded mismatches are looked at for samples.
	mismatchesRead = 10_000
)

func runPart(info checkpoint.RunInfo) *report.Run {
	t := info.Totals
	walk := info.Walk.Walk
	var key []string
	for _, k := range info.Walk.Key {
		key = append(key, k.Name)
	}
	if len(key) > 0 && info.Walk.Heap == nil {
		walk += " (" + strings.Join(key, ", ") + ")"
	}
	return &report.Run{
		ID: int64(info.ID), State: string(info.State), Reason: info.Reason, TakenBack: info.Undo != nil, By: info.CreatedBy, Tool: info.ToolVersion,
		Created: info.CreatedAt.UTC(), Started: utc(info.StartedAt), Finished: utc(info.FinishedAt), Walk: walk, Estimated: info.EstimatedRows,
		Segments: t.Segments, Done: t.SegmentsDone, Chunks: t.Chunks, Seen: t.RowsSeen, Changed: t.RowsChanged, Swept: t.SweepChanged,
		Unmatched: t.Unmatched, Multiple: t.Multiple, Quarantine: t.Quarantined, Busy: t.Busy.Seconds(),
	}
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}

// seriesPart is the course of a run.
func seriesPart(ctx context.Context, s *checkpoint.Store, run backfill.RunID, r *report.Report) error {
	points, err := s.Series(ctx, run, seriesSteps)
	for _, p := range points {
		r.Series.Step = p.Step.Seconds()
		point := report.Point{At: p.At.UTC(), Chunks: p.Chunks, Rows: p.Rows, Median: p.Median.Seconds(), Longest: p.Longest.Seconds()}
		if p.Lag != nil {
			lag := p.Lag.Seconds()
			point.Lag = &lag
		}
		r.Series.Points = append(r.Series.Points, point)
	}
	return err
}

// eventsPart are the events with what there is to say of each in words.
func eventsPart(list []checkpoint.EventRow) []report.Event {
	var events []report.Event
	for _, e := range list {
		var detail map[string]any
		var words []string
		if json.Unmarshal(e.Detail, &detail) == nil {
			for _, name := range slices.Sorted(maps.Keys(detail)) {
				if v := detail[name]; v != nil && v != "" && name != "process" && name != "from" && name != "to" {
					words = append(words, fmt.Sprintf("%s %v", strings.ReplaceAll(name, "_", " "), v))
				}
			}
		}
		events = append(events, report.Event{At: e.At.UTC(), Who: e.Who, What: e.What, Text: strings.Join(words, ", ")})
	}
	return events
}

// gatePart is what the gate said, where it was asked about this very run and job.
func gatePart(ctx context.Context, s *checkpoint.Store, info checkpoint.RunInfo) (*report.Gate, error) {
	g, found, err := s.NewestGate(ctx, info.Job)
	if err != nil || !found || g.SpecHash != info.SpecHash || g.Run == nil || *g.Run != int64(info.ID) {
		return nil, err
	}
	p := &report.Gate{Verdict: string(g.Verdict), At: g.At.UTC(), By: g.Who, Asserted: utc(g.AssertedAt)}
	for _, c := range g.Conditions {
		one := report.Condition{ID: c.ID, Title: c.Title, Status: string(c.Status), Evidence: strings.Join(c.Evidence, "; "), SQL: strings.Join(c.SQL, ";\n\n")}
		if w := c.Waiver; w != nil {
			one.Waiver = fmt.Sprintf("waived by %s until %s: %s", w.Who, w.Until.UTC().Format(time.DateTime+" UTC"), w.Why)
		}
		p.Conditions = append(p.Conditions, one)
	}
	return p, nil
}

// dualWritePart is what keeps the application's writes right; nil where nothing of it was ever installed.
func dualWritePart(ctx context.Context, conn *pgx.Conn, spec backfill.Job) (*report.DualWrite, error) {
	p := &report.DualWrite{By: "application"}
	w, err := checkpoint.ReadTripwire(ctx, conn, spec.Name)
	if err != nil {
		return nil, err
	}
	var triggers []checkpoint.DualWriteTrigger
	if spec.ByTrigger() {
		p.By = "trigger"
		d, err := checkpoint.ReadDualWrite(ctx, conn, spec.Name)
		if err != nil {
			return nil, err
		}
		triggers = d.Triggers
	}
	for _, t := range append(triggers, w.Triggers...) {
		p.Triggers = append(p.Triggers, report.Trigger{Table: t.Table, Name: t.Trigger, State: t.State})
	}
	p.Writes, p.DriftAll, p.Since = w.Writes, w.Recorded, utc(w.InstalledAt)
	for _, d := range w.Latest {
		p.Drift = append(p.Drift, report.DriftEntry{At: d.At.UTC(), Key: strings.Join(d.Key, ", "), Application: d.Application, User: d.Role, Query: d.Query})
	}
	if len(p.Triggers) == 0 && p.DriftAll == 0 {
		return nil, nil
	}
	return p, nil
}

// waitsPart are the times in which something kept a process, or people kept all of them, from writing: from the events
// that say so to those that say that it goes on. What was only counted is another event, since it has no times.
func waitsPart(events []report.Event, until time.Time) []report.Wait {
	ends := map[string]string{"throttled": "goes on", "paused": "running"}
	var waits []report.Wait
	for i, e := range events {
		end, stops := ends[e.What]
		if !stops {
			continue
		}
		w := report.Wait{From: e.At, To: until, Reason: strings.TrimPrefix(e.Text, "reason ")}
		for _, later := range events[i+1:] {
			over := later.What == string(backfill.StateFinished) || later.What == string(backfill.StateCancelled)
			if over || later.What == end && (e.What == "paused" || later.Who == e.Who) {
				w.To = later.At
				break
			}
		}
		if e.What == "paused" {
			w.Reason = "paused"
		}
		waits = append(waits, w)
	}
	return waits
}

// waitedIn adds to each point of a series how much of it was waited in.
func waitedIn(s *report.Series, waits []report.Wait) {
	for i := range s.Points {
		from := s.Points[i].At
		to := from.Add(time.Duration(s.Step * float64(time.Second)))
		var until time.Time // several may wait at the same time
		for _, w := range waits {
			begin, end := latest(w.From, latest(from, until)), w.To
			if end.After(to) {
				end = to
			}
			if end.After(begin) {
				s.Points[i].Waited += end.Sub(begin).Seconds()
				until = end
			}
		}
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// verificationPart is the newest verification of the job that has ended; it must be of this run's job as it is.
func verificationPart(ctx context.Context, s *checkpoint.Store, info checkpoint.RunInfo, table backfill.TableName, r *report.Report) error {
	list, err := s.VerificationsOf(ctx, info.Job)
	if err != nil && !errors.Is(err, backfill.ErrNotFound) {
		return err
	}
	at := -1
	for i, v := range list {
		if v.State == "ended" && v.SpecHash == info.SpecHash && v.Run == info.ID {
			at = i
		}
	}
	if at < 0 {
		return nil
	}
	v := list[at]
	p := &report.Verification{
		ID: v.ID, Verdict: string(v.Result), Started: v.StartedAt.UTC(), Finished: utc(v.FinishedAt), By: v.Who, Tool: v.ToolVersion, Server: v.Server, Role: v.Role,
		InRecovery: v.InRecovery, LSN: v.LSN, Ranges: v.Ranges, Expected: v.RowsExpected, Checked: v.RowsChecked, SkippedAll: v.RangesSkipped,
		Sample: v.SampleFraction, Residual: v.Residual, Incomplete: v.Incomplete, BlindedBy: v.BlindedBy, Voided: utc(v.VoidedAt),
		Mismatches: v.Mismatches, Classes: map[string]int64{},
	}
	if v.LedgerRows != nil {
		p.Ledger = *v.LedgerRows
	}
	for class, n := range v.Classes {
		p.Classes[string(class)] = n
	}
	var checks []verify.CheckResult
	var skipped []verify.Unverifiable
	if err := errors.Join(json.Unmarshal(v.Checks, &checks), json.Unmarshal(v.Skipped, &skipped)); err != nil {
		return fmt.Errorf("verification %d: what it found is not readable: %w", v.ID, err)
	}
	for _, c := range checks {
		p.Checks = append(p.Checks, report.Check{Name: c.Name, Kind: string(c.Kind), Ranges: c.Ranges, Rows: c.Rows, Missing: c.Missing, Extra: c.Extra, Different: c.Different})
	}
	for _, u := range skipped {
		p.Skipped = append(p.Skipped, report.Skipped{Check: u.Check, Range: rangeText(backfill.Segment{Nulls: u.Nulls, Range: u.Range}), Reason: u.Reason})
	}
	r.Verification = p
	return samplesPart(ctx, s, info, table, p)
}

// samplesPart are some of the rows that are not as they should be, of each class, with the statement that fetches them.
func samplesPart(ctx context.Context, s *checkpoint.Store, info checkpoint.RunInfo, table backfill.TableName, p *report.Verification) error {
	if p.Mismatches == 0 {
		return nil
	}
	list, err := s.MismatchesOf(ctx, p.ID, 0, mismatchesRead)
	taken := map[verify.Class]int{}
	for _, m := range list {
		if taken[m.Class]++; taken[m.Class] > report.SamplesPerClass {
			continue
		}
		p.Samples = append(p.Samples, report.Mismatch{
			Check: m.Check, Kind: string(m.Kind), Class: string(m.Class), Confidence: string(m.Confidence), Evidence: m.Evidence,
			Key: m.Key, Columns: m.Columns, Hashed: m.Hashed, Expected: m.Expected, Actual: m.Actual, SQL: fetching(info, table, m.Key),
		})
	}
	return err
}

// fetching is the statement that fetches a row of the walked table by its key; "" where the key is not that of the table.
func fetching(info checkpoint.RunInfo, table backfill.TableName, key []*string) string {
	if info.Walk.Heap != nil || len(key) == 0 || len(key) != len(info.Walk.Key) {
		return ""
	}
	var where []string
	for i, k := range info.Walk.Key {
		if key[i] == nil {
			where = append(where, pgsql.Ident(k.Name)+" IS NULL")
			continue
		}
		where = append(where, fmt.Sprintf("%s = %s", pgsql.Ident(k.Name), pgsql.Literal(*key[i])))
	}
	return fmt.Sprintf("SELECT * FROM %s WHERE %s", quotedName(table), strings.Join(where, " AND "))
}

func quotedName(t backfill.TableName) string {
	if t.Schema == "" {
		return pgsql.Ident(t.Name)
	}
	return pgsql.Ident(t.Schema, t.Name)
}
