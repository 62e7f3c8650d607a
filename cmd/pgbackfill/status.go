package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/configs"
)

func (a *app) statusCommand() *cobra.Command {
	watch, unfinished := false, false
	c := &cobra.Command{
		Use:   "status [JOB]",
		Short: "Shows all runs, or one: progress, rate, ETA, and what it waits for",
		Args:  args(0, 1, "at most one job"),
		RunE: func(c *cobra.Command, given []string) error {
			show := func(ctx context.Context) error {
				err := a.looked(ctx, func(s *checkpoint.Store) error { return a.status(ctx, s, given, unfinished) })
				if len(given) == 1 {
					return neverRun(given[0], err)
				}
				return err
			}
			if !watch {
				err := show(c.Context())
				if notFound(err) && len(given) == 0 {
					fmt.Fprintln(a.out, "no runs: the schema pgbackfill is not in this database\n  → start with: pgbackfill init TABLE")
					return nil
				}
				return err
			}
			err := a.watch(c.Context(), given, unfinished)
			if len(given) == 1 {
				return neverRun(given[0], err)
			}
			return err
		},
	}
	c.Flags().BoolVar(&watch, "watch", false, fmt.Sprintf(
		"look again every %v (status.interval) until the run is over; without JOB, until Ctrl-C", configs.BuiltIn("status.interval")))
	c.Flags().BoolVar(&unfinished, "unfinished", false, "without JOB: only runs that are not over, and those that are being taken back")
	return a.jsonFlag(c)
}

// watch shows the status again and again over one connection.
func (a *app) watch(ctx context.Context, given []string, unfinished bool) error {
	err := a.looked(ctx, func(s *checkpoint.Store) error {
		for {
			if a.output == "text" && a.interactive() {
				fmt.Fprint(a.out, "\x1b[H\x1b[2J")
			}
			if err := a.status(ctx, s, given, unfinished); err != nil {
				return err
			}
			if len(given) == 1 {
				info, err := s.Newest(ctx, given[0])
				if err != nil || info.State.Over() && !info.Undoing() {
					return err
				}
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(a.cfg.StatusInterval):
			}
		}
	})
	if ctx.Err() == nil { // Ctrl-C is how one stops looking
		return err
	}
	return nil
}

// runStatus is a run as status prints it in JSON: what is stored, and what follows from it.
type runStatus struct {
	checkpoint.RunInfo
	// Progress is from 0 to 1, and 1 only where all is done. It, the rate and the ETA are the undo's where the run is
	// being taken back from what it kept.
	Progress float64 `json:"progress"`
	// RowsPerSecond is 0, and ETASeconds absent, where nobody is at work or it is paused.
	RowsPerSecond float64 `json:"rows_per_second"`
	ETASeconds    float64 `json:"eta_seconds,omitempty"`
	Waiting       string  `json:"waiting,omitempty"`
	Live          int     `json:"live_processes"`
	// Quarantined are the rows that could not be changed; only where the status is of one job.
	Quarantined []backfill.QuarantinedRow `json:"quarantined,omitempty"`
}

func statusOf(info checkpoint.RunInfo) runStatus {
	info = known(info)
	if info.State == backfill.StatePausing && info.Desired == backfill.DesiredPaused && live(info) == 0 {
		info.State = backfill.StatePaused // whoever was at it died before it could say so
	}
	s := runStatus{RunInfo: info, Progress: info.Progress(), Live: live(info), Waiting: waiting(info)}
	if info.State.Over() && !info.Undoing() || info.Desired != backfill.DesiredRunning || s.Live == 0 {
		return s // it does not move, and nobody can know when it will
	}
	s.RowsPerSecond = info.RowsPerSecond()
	if left, known := info.Remaining(); known {
		s.ETASeconds = left.Seconds()
	}
	return s
}

// takesBack reports whether a run is the one that takes another run back by undo.set: it is gone on with by undo.
func takesBack(info checkpoint.RunInfo) bool {
	var job backfill.Job
	return json.Unmarshal(info.Spec, &job) == nil && job.TakesBack()
}

// waiting is why a run does not move, "" where it does or is over.
func waiting(info checkpoint.RunInfo) string {
	command := "run"
	if takesBack(info) {
		command = "undo"
	}
	switch {
	case info.Undoing() && info.Undo.How == "set":
		return "being taken back by another run; see: pgbackfill status " + backfill.UndoName(info.Job, info.ID)
	case info.Undoing():
		command = "undo"
	case info.State.Over():
		return ""
	}
	switch {
	case info.Desired == backfill.DesiredPaused:
		return info.DesiredReason + "; go on with: pgbackfill resume " + info.Job
	case info.Desired == backfill.DesiredCancelled && !info.Undoing():
		return info.DesiredReason + "; end it with: pgbackfill cancel " + info.Job
	case info.State == backfill.StateFailed && live(info) == 0 && !info.Undoing():
		return info.Reason
	case live(info) == 0:
		return "nobody is at work on it; go on with: pgbackfill " + command + " " + orFile(info.Walk.Origin)
	}
	for _, p := range info.Processes {
		if p.Live && p.Waiting != "" {
			return p.Waiting
		}
	}
	return ""
}

func (a *app) status(ctx context.Context, s *checkpoint.Store, given []string, unfinished bool) error {
	var list []checkpoint.RunInfo
	if len(given) == 1 {
		info, err := s.Newest(ctx, given[0])
		if err != nil {
			return unknownJob(ctx, s, given[0], err)
		}
		list = []checkpoint.RunInfo{info}
	} else {
		var err error
		if list, err = s.Runs(ctx); err != nil {
			return err
		}
	}
	if unfinished && len(given) == 0 {
		list = slices.DeleteFunc(list, func(i checkpoint.RunInfo) bool { return i.State.Over() && !i.Undoing() })
	}
	all := make([]runStatus, len(list))
	for i, info := range list {
		all[i] = statusOf(info)
	}
	if len(given) == 1 && list[0].Totals.Quarantined > 0 {
		most := quarantinedShown
		if a.output == "json" {
			most = math.MaxInt32
		}
		var err error
		if all[0].Quarantined, err = s.Quarantined(ctx, list[0].ID, most); err != nil {
			return err
		}
	}
	if a.output == "json" {
		enc := json.NewEncoder(a.out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if len(given) == 1 {
			return enc.Encode(all[0])
		}
		return enc.Encode(all)
	}
	if len(given) == 0 {
		if unfinished && len(all) == 0 {
			_, err := fmt.Fprintln(a.out, "every run is over")
			return err
		}
		return writeRuns(harmless{a.out}, all)
	}
	events, err := s.Events(ctx, all[0].ID)
	if err != nil {
		return err
	}
	return writeRun(harmless{a.out}, all[0], events)
}
