package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/configs"
	"github.com/pgbackfill/pgbackfill/internal/catalog"
	"github.com/pgbackfill/pgbackfill/internal/human"
	"github.com/pgbackfill/pgbackfill/throttle"
)

func (a *app) pauseCommand() *cobra.Command {
	return a.desire("pause JOB", "Stops the run of a job between two chunks until it is resumed", func(ctx context.Context, s *checkpoint.Store, job, why string) error {
		job = steered(ctx, s, job)
		info, err := s.Steered(ctx, job)
		if err == nil && info.Desired == backfill.DesiredPaused && why == "" { // the reason that was given stays
			fmt.Fprintf(a.out, "%s: %s is %s already\n  → to go on: pgbackfill resume %s\n", job, runText(info), info.DesiredReason, job)
			return nil
		}
		if err != nil {
			return err
		}
		info, err = s.SetDesired(ctx, job, backfill.DesiredPaused, who(), why)
		if err == nil {
			fmt.Fprintf(a.out, "%s: %s pauses: its workers stop after the chunk they are at\n  → to go on: pgbackfill resume %s\n", job, runText(info), job)
		}
		return err
	})
}

func (a *app) resumeCommand() *cobra.Command {
	return a.desire("resume JOB", "Lets a paused run go on", func(ctx context.Context, s *checkpoint.Store, job, why string) error {
		job = steered(ctx, s, job)
		info, err := s.Steered(ctx, job)
		if err != nil {
			return err
		}
		said := "is not paused: it goes on already"
		if info.Desired != backfill.DesiredRunning {
			if info, err = s.SetDesired(ctx, job, backfill.DesiredRunning, who(), why); err != nil {
				return err
			}
			said = "goes on"
		} else if live(info) == 0 {
			said = "is not paused"
		}
		fmt.Fprintf(a.out, "%s: %s %s\n", job, runText(info), said)
		if live(info) == 0 {
			fmt.Fprintf(a.out, "  no process is at work on it\n  → start one: pgbackfill %s\n", worksOn(info))
		}
		return nil
	})
}

func (a *app) cancelCommand() *cobra.Command {
	return a.desire("cancel JOB", "Ends the run of a job; what it has done stays", func(ctx context.Context, s *checkpoint.Store, job, why string) error {
		job = steered(ctx, s, job)
		info, err := s.Steered(ctx, job)
		if err == nil && !info.Undoing() { // of one that is taken back from what it kept the store says so
			err = undoesAnother(ctx, s, job)
		}
		if err != nil {
			return err
		}
		if !info.Undoing() && !a.ask(fmt.Sprintf("End run %d of %s for good? %s rows are changed and stay so.", info.ID, job, human.Count(info.Totals.RowsChanged))) {
			return &backfill.Error{Found: "not cancelled, as answered", Kind: backfill.ErrInput}
		}
		if info, err = s.SetDesired(ctx, job, backfill.DesiredCancelled, who(), why); err != nil {
			return err
		}
		// An error of the cancel itself leaves the wish behind: the processes stop all the same.
		run := s.Attach(info)
		if err := run.Cancel(ctx); err != nil {
			return err
		}
		a.release(ctx, run)
		fmt.Fprintf(a.out, "%s: run %d is cancelled: %s rows are changed and stay so\n", job, info.ID, human.Count(info.Totals.RowsChanged))
		return nil
	})
}

// desire is a command that asks something of a job's unfinished run, with --why.
func (a *app) desire(use, short string, do func(context.Context, *checkpoint.Store, string, string) error) *cobra.Command {
	var why string
	c := &cobra.Command{Use: use, Short: short, Args: args(1, 1, "the name of one job"), RunE: func(c *cobra.Command, given []string) error {
		return neverRun(given[0], a.stored(c.Context(), func(s *checkpoint.Store) error {
			return unknownJob(c.Context(), s, given[0], do(c.Context(), s, given[0], why))
		}))
	}}
	c.Flags().StringVar(&why, "why", "", "the reason, shown by status and recorded")
	return c
}

func (a *app) setCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "set JOB KEY=VALUE…",
		Short: "Changes the pace of a run while it goes on: rate, workers, chunk.target, …",
		Long:  "set changes the pace of a job's unfinished run. Its processes take it up within about a second,\nnone of them above its operator's ceilings. The keys:\n  " + strings.Join(slices.DeleteFunc(configs.LimitKeys(), isFixed), " "),
		Args:  args(2, -1, "the name of a job and at least one KEY=VALUE"),
		RunE: func(c *cobra.Command, given []string) error {
			if err := settable(given[1:]); err != nil {
				return err
			}
			limits, err := configs.ParseLimits(given[1:])
			if err != nil {
				return err
			}
			// This operator's ceilings; every process keeps to its own besides.
			_, notes := a.cfg.Clamp(limits)
			if len(notes) > 0 {
				return &backfill.Error{Place: "set", Found: "it asks for more than the operator allows: " + strings.Join(notes, "; "), Remedy: "ask for less, or have the operator raise the ceiling", Kind: backfill.ErrInput}
			}
			return neverRun(given[0], a.stored(c.Context(), func(s *checkpoint.Store) error {
				job := steered(c.Context(), s, given[0])
				info, err := s.SetOverrides(c.Context(), job, limits, who())
				if err != nil {
					return unknownJob(c.Context(), s, job, err)
				}
				fmt.Fprintf(a.out, "%s: %s is to work at %s\n", job, runText(info), strings.Join(given[1:], " "))
				if live(info) == 0 {
					fmt.Fprintf(a.out, "  no process is at work on it; it holds when one is\n  → start one: pgbackfill %s\n", worksOn(info))
				}
				return nil
			}))
		},
	}
}

// isFixed reports whether a limit holds for as long as a process is at work.
func isFixed(key string) bool {
	return slices.ContainsFunc(throttle.Names(), func(n throttle.Name) bool { return n.Fixed && n.Name == key })
}

// settable refuses what cannot be changed while a run goes on.
func settable(list []string) error {
	for _, limit := range list {
		if name, _, _ := strings.Cut(limit, "="); isFixed(strings.TrimSpace(name)) {
			return &backfill.Error{
				Place: "set " + name, Found: "it cannot be changed while a process is at work: what is run, asked or looked at on its machine is said there",
				Remedy: "say it in the job file, in the configuration or with run --set " + limit + ", and start the process anew: it goes on where it was", Kind: backfill.ErrInput,
			}
		}
	}
	return nil
}

// steered is the job whose run is meant where somebody names one to be paused or set: where its newest run is being taken
// back by assignments, that is the job that does so.
func steered(ctx context.Context, s *checkpoint.Store, job string) string {
	info, err := s.Newest(ctx, job)
	if err == nil && info.Undoing() && info.Undo.How == "set" {
		return backfill.UndoName(job, info.ID)
	}
	return job
}

// undoesAnother is the error of a job that takes a run of another one back, and is to be cancelled.
func undoesAnother(ctx context.Context, s *checkpoint.Store, job string) error {
	list, err := s.Runs(ctx)
	if err != nil {
		return err
	}
	for _, info := range list {
		if info.Undoing() && info.Undo.How == "set" && backfill.UndoName(info.Job, info.ID) == job {
			return &backfill.Error{
				Place: "job " + job, Found: fmt.Sprintf("it takes run %d of %s back, and a part of that is neither the one state nor the other", info.ID, info.Job),
				Remedy: "let it end, or stop it for a time: pgbackfill pause " + job, Kind: backfill.ErrInput,
			}
		}
	}
	return nil
}

// runText names a run, or its undo, for people.
func runText(info checkpoint.RunInfo) string {
	if info.Undoing() {
		return fmt.Sprintf("the undo of run %d", info.ID)
	}
	return fmt.Sprintf("run %d", info.ID)
}

// worksOn is the command that goes on with a run or with its undo.
func worksOn(info checkpoint.RunInfo) string {
	verb := "run "
	if info.Undoing() {
		verb = "undo "
	}
	return verb + orFile(info.Walk.Origin)
}

// unknownJob makes of an error about a job that is not there one that says which there are.
func unknownJob(ctx context.Context, s *checkpoint.Store, job string, err error) error {
	if !notFound(err) {
		return err
	}
	list, readErr := s.Runs(ctx)
	if readErr != nil {
		return err
	}
	e := &backfill.Error{Place: "job " + job, Found: "it has no run in this database", Remedy: "see what runs there are with: pgbackfill status", Kind: backfill.ErrInput}
	var names, unfinished []string
	for _, info := range list {
		if info.Job == job {
			e.Found = fmt.Sprintf("it has no unfinished run: run %d is %s", info.ID, info.State)
		}
		if !slices.Contains(names, info.Job) {
			names = append(names, info.Job)
		}
		if !info.State.Over() {
			unfinished = append(unfinished, info.Job)
		}
	}
	near := catalog.Similar(job, names)
	switch {
	case len(names) == 0:
		e.Found = "there are no runs at all in this database"
		e.Remedy = "check that it is the right database; start a run with: pgbackfill run FILE"
	case slices.Contains(names, job):
		e.Remedy = "start a new run with: pgbackfill run --again FILE"
	case len(near) > 0:
		e.Remedy = "did you mean " + near[0] + "?"
	case len(unfinished) > 0:
		e.Remedy = "the jobs with an unfinished run are " + strings.Join(unfinished, ", ")
	}
	return e
}

// live counts the processes that work on a run: those that were heard of lately, but for the
// ones of this machine that are gone.
func live(info checkpoint.RunInfo) int {
	n := 0
	for _, p := range known(info).Processes {
		if p.Live {
			n++
		}
	}
	return n
}

// known is a run with what this machine knows of its own processes: those that are gone are not
// live, though they may have been heard of seconds ago.
func known(info checkpoint.RunInfo) checkpoint.RunInfo {
	host, _ := os.Hostname()
	info.Processes = slices.Clone(info.Processes)
	for i, p := range info.Processes {
		if p.Host == host && errors.Is(syscall.Kill(p.PID, 0), syscall.ESRCH) {
			info.Processes[i].Live = false
		}
	}
	return info
}

func orFile(path string) string {
	if path == "" {
		return "FILE"
	}
	return path
}

// notFound is whether nothing of ours is in the database.
func notFound(err error) bool { return errors.Is(err, backfill.ErrNotFound) }
