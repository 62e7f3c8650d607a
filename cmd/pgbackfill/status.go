package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/internal/human"
)

func (a *app) statusCommand() *cobra.Command {
	watch := false
	c := &cobra.Command{
		Use:   "status [JOB]",
		Short: "Shows all runs, or one: progress, rate, ETA, and what it waits for",
		Args:  args(0, 1, "at most one job"),
		RunE: func(c *cobra.Command, given []string) error {
			show := func(ctx context.Context) error {
				return a.stored(ctx, func(s *checkpoint.Store) error { return a.status(ctx, s, given) })
			}
			if !watch {
				err := show(c.Context())
				if notFound(err) && len(given) == 0 {
					fmt.Fprintln(a.out, "no runs: the schema pgbackfill is not in this database\n  → start with: pgbackfill init TABLE")
					return nil
				}
				return err
			}
			return a.watch(c.Context(), given)
		},
	}
	c.Flags().BoolVar(&watch, "watch", false, "look again every second or so, until the run is over or Ctrl-C")
	return a.jsonFlag(c)
}

// watch shows the status again and again over one connection.
func (a *app) watch(ctx context.Context, given []string) error {
	err := a.stored(ctx, func(s *checkpoint.Store) error {
		for {
			if a.output == "text" && a.interactive() {
				fmt.Fprint(a.out, "\x1b[H\x1b[2J")
			}
			if err := a.status(ctx, s, given); err != nil {
				return err
			}
			if len(given) == 1 {
				info, err := s.Newest(ctx, given[0])
				if err != nil || info.State.Over() {
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
	if ctx.Err() != nil {
		return nil // Ctrl-C is how one stops looking
	}
	return err
}

// runStatus is a run as status prints it in JSON: what is stored, and what follows from it.
type runStatus struct {
	checkpoint.RunInfo
	Progress      float64 `json:"progress"`
	RowsPerSecond float64 `json:"rows_per_second"`
	ETASeconds    float64 `json:"eta_seconds,omitempty"`
	Waiting       string  `json:"waiting,omitempty"`
	Live          int     `json:"live_processes"`
}

func statusOf(info checkpoint.RunInfo) runStatus {
	s := runStatus{RunInfo: info, Progress: info.Progress(), RowsPerSecond: info.RowsPerSecond(), Live: live(info), Waiting: waiting(info)}
	if left, known := info.Remaining(); known {
		s.ETASeconds = left.Seconds()
	}
	return s
}

// waiting is why a run does not move, "" where it does or is over.
func waiting(info checkpoint.RunInfo) string {
	switch {
	case info.State.Over():
		return ""
	case info.Desired != backfill.DesiredRunning:
		return info.DesiredReason
	case info.State == backfill.StateFailed:
		return info.Reason
	case live(info) == 0:
		return "nobody is at work on it; go on with: pgbackfill run " + orFile(info.Walk.Origin)
	}
	for _, p := range info.Processes {
		if p.Live && p.Waiting != "" {
			return p.Waiting
		}
	}
	return ""
}

func (a *app) status(ctx context.Context, s *checkpoint.Store, given []string) error {
	var list []checkpoint.RunInfo
	if len(given) == 1 {
		info, err := s.Newest(ctx, given[0])
		if err != nil {
			return err
		}
		list = []checkpoint.RunInfo{info}
	} else {
		var err error
		if list, err = s.Runs(ctx); err != nil {
			return err
		}
	}
	all := make([]runStatus, len(list))
	for i, info := range list {
		all[i] = statusOf(info)
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
		return writeRuns(a.out, all)
	}
	events, err := s.Events(ctx, all[0].ID)
	if err != nil {
		return err
	}
	return writeRun(a.out, all[0], events)
}

func writeRuns(w io.Writer, all []runStatus) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "no runs yet\n  → start one: pgbackfill run FILE")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "RUN\tJOB\tTABLE\tSTATE\tPROGRESS\tROWS\tCHANGED\tROWS/S\tETA\tWAITING FOR")
	for _, s := range all {
		rate, eta := "", ""
		if !s.State.Over() && s.Live > 0 {
			rate, eta = human.Count(int64(s.RowsPerSecond)), etaText(s)
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, s.Job, s.Table, stateText(s), human.Percent(s.Progress),
			human.Count(s.Totals.RowsSeen), human.Count(s.Totals.RowsChanged), rate, eta, firstLine(s.Waiting))
	}
	return t.Flush()
}

func writeRun(w io.Writer, s runStatus, events []checkpoint.EventRow) error {
	fmt.Fprintf(w, "%s, run %d on %s: %s\n", s.Job, s.ID, s.Table, stateText(s))
	if s.Waiting != "" {
		fmt.Fprintf(w, "  waits for  %s\n", s.Waiting)
	}
	fmt.Fprintf(w, "  progress   %s of the %s; %s rows walked, %s changed, %s chunks, segments %d of %d\n", human.Percent(s.Progress), s.Pass,
		human.Count(s.Totals.RowsSeen), human.Count(s.Totals.RowsChanged), human.Count(s.Totals.Chunks), s.Totals.SegmentsDone, s.Totals.Segments)
	if s.Totals.SweepChanged+s.Totals.Unmatched+s.Totals.Multiple > 0 {
		fmt.Fprintf(w, "  of them    %s changed by the closing sweep; the join met %s not at all, %s more than once\n",
			human.Count(s.Totals.SweepChanged), human.Count(s.Totals.Unmatched), human.Count(s.Totals.Multiple))
	}
	if !s.State.Over() && s.Live > 0 {
		fmt.Fprintf(w, "  rate       %s rows/s, ETA %s\n", human.Count(int64(s.RowsPerSecond)), etaText(s))
	}
	fmt.Fprintf(w, "  created    %s by %s, by pgbackfill %s\n", s.CreatedAt.Local().Format(time.DateTime), s.CreatedBy, s.ToolVersion)
	for _, p := range s.Processes {
		if p.Live {
			fmt.Fprintf(w, "  process    %s: %d workers, chunks of %s rows, %s rows/s %s\n", p.Process, p.Workers, human.Count(int64(p.ChunkRows)), human.Count(int64(p.RowsPerSecond)), p.Waiting)
		}
	}
	const shown = 12
	if len(events) > shown {
		fmt.Fprintf(w, "  events     the last %d of %d\n", shown, len(events))
		events = events[len(events)-shown:]
	}
	for _, e := range events {
		fmt.Fprintf(w, "    %s  %s  %s  %s\n", e.At.Local().Format(time.DateTime), e.Who, e.What, e.Detail)
	}
	return nil
}

func stateText(s runStatus) string {
	if !s.State.Over() && s.State != backfill.StateFailed && s.Live == 0 {
		return string(s.State) + " (nobody at work)"
	}
	return string(s.State)
}

func etaText(s runStatus) string {
	if s.Desired != backfill.DesiredRunning || s.ETASeconds == 0 {
		return "-"
	}
	return human.Duration(time.Duration(s.ETASeconds * float64(time.Second)))
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
