package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/configs"
	"github.com/pgbackfill/pgbackfill/internal/human"
)

func (a *app) pauseCommand() *cobra.Command {
	return a.desire("pause JOB", "Stops the run of a job between two chunks until it is resumed", func(ctx context.Context, s *checkpoint.Store, job, why string) error {
		info, err := s.SetDesired(ctx, job, backfill.DesiredPaused, who(), why)
		if err == nil {
			fmt.Fprintf(a.out, "%s: run %d pauses: its workers stop after the chunk they are at\n  → to go on: pgbackfill resume %s\n", job, info.ID, job)
		}
		return err
	})
}

func (a *app) resumeCommand() *cobra.Command {
	return a.desire("resume JOB", "Lets a paused run go on", func(ctx context.Context, s *checkpoint.Store, job, why string) error {
		info, err := s.SetDesired(ctx, job, backfill.DesiredRunning, who(), why)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.out, "%s: run %d goes on\n", job, info.ID)
		if live(info) == 0 {
			fmt.Fprintf(a.out, "  no process is at work on it\n  → start one: pgbackfill run %s\n", orFile(info.Walk.Origin))
		}
		return nil
	})
}

func (a *app) cancelCommand() *cobra.Command {
	return a.desire("cancel JOB", "Ends the run of a job; what it has done stays", func(ctx context.Context, s *checkpoint.Store, job, why string) error {
		info, err := s.Find(ctx, job)
		if err != nil {
			return err
		}
		if !a.ask(fmt.Sprintf("End run %d of %s for good? %s rows are changed and stay so.", info.ID, job, human.Count(info.Totals.RowsChanged))) {
			return fmt.Errorf("%w: not cancelled, as answered", backfill.ErrInput)
		}
		if info, err = s.SetDesired(ctx, job, backfill.DesiredCancelled, who(), why); err != nil {
			return err
		}
		// An error of the cancel itself leaves the wish behind: the processes stop all the same.
		if err := s.Attach(info).Cancel(ctx); err != nil {
			return err
		}
		fmt.Fprintf(a.out, "%s: run %d is cancelled: %s rows are changed and stay so\n", job, info.ID, human.Count(info.Totals.RowsChanged))
		return nil
	})
}

// desire is a command that asks something of a job's unfinished run, with --why.
func (a *app) desire(use, short string, do func(context.Context, *checkpoint.Store, string, string) error) *cobra.Command {
	var why string
	c := &cobra.Command{Use: use, Short: short, Args: args(1, 1, "the name of one job"), RunE: func(c *cobra.Command, given []string) error {
		return a.stored(c.Context(), func(s *checkpoint.Store) error { return do(c.Context(), s, given[0], why) })
	}}
	c.Flags().StringVar(&why, "why", "", "the reason, shown by status and recorded")
	return c
}

func (a *app) setCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "set JOB KEY=VALUE…",
		Short: "Changes the pace of a run while it goes on: rate, workers, chunk.target, …",
		Long:  "set changes the pace of a job's unfinished run. Its processes take it up within about a second,\nnone of them above its operator's ceilings. The keys:\n  " + fmt.Sprint(configs.LimitKeys()),
		Args:  args(2, -1, "the name of a job and at least one KEY=VALUE"),
		RunE: func(c *cobra.Command, given []string) error {
			limits, err := configs.ParseLimits(given[1:])
			if err != nil {
				return err
			}
			// This operator's ceilings; every process keeps to its own besides.
			_, notes := a.cfg.Clamp(limits)
			if len(notes) > 0 {
				return &backfill.Error{Place: "set", Found: fmt.Sprint(notes), Remedy: "ask for less, or have the operator raise the ceiling in " + orFile(a.cfg.File), Kind: backfill.ErrInput}
			}
			return a.stored(c.Context(), func(s *checkpoint.Store) error {
				info, err := s.SetOverrides(c.Context(), given[0], limits, who())
				if err != nil {
					return err
				}
				fmt.Fprintf(a.out, "%s: run %d works at %s\n", given[0], info.ID, fmt.Sprint(given[1:]))
				return nil
			})
		},
	}
}

// live counts the processes that work on a run: those that were heard of lately, but for the
// ones of this machine that are gone.
func live(info checkpoint.RunInfo) int {
	host, _ := os.Hostname()
	n := 0
	for _, p := range info.Processes {
		killed := p.Host == host && errors.Is(syscall.Kill(p.PID, 0), syscall.ESRCH)
		if p.Live && !killed {
			n++
		}
	}
	return n
}

func orFile(path string) string {
	if path == "" {
		return "FILE"
	}
	return path
}

// notFound is whether nothing of ours is in the database.
func notFound(err error) bool { return errors.Is(err, backfill.ErrNotFound) }
