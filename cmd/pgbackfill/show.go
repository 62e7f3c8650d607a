package main

import (
	"errors"
	"fmt"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/backfill/verify"
	"github.com/pgbackfill/pgbackfill/internal/eventlog"
	"github.com/pgbackfill/pgbackfill/internal/progressui"
)

// shown is how a run is shown while it goes on: a live display on a terminal, lines elsewhere,
// the log alone where it is JSON.
type shown struct {
	app     *app
	observe backfill.Observer
	close   func()
	plain   bool
	// warn says something to the person at the run, in its place on the terminal or in the log.
	warn func(text string)
}

// stopping says that a request to stop was heard: until the begun chunks are done nothing else shows it.
func (s *shown) stopping() {
	s.warn("stopping: chunks that have begun finish first; interrupt again to cancel them")
}

func (a *app) show() (*shown, error) {
	switch {
	case a.cfg.Log.Format == "json":
		log, err := a.logger(a.err)
		if err != nil {
			return nil, err
		}
		records := eventlog.Records(log, a.cfg.ProgressInterval)
		return &shown{
			app: a, observe: backfill.Tee(eventlog.Observer(log), records.Observe), close: records.Close, plain: true,
			warn: func(text string) { log.Warn().Msg(text) },
		}, nil
	case progressui.Usable(a.err) && a.cfg.Log.Format == "auto":
		display := progressui.Start(a.err)
		log, err := a.logger(display.Writer())
		return &shown{
			app: a, observe: backfill.Tee(display.Observe, untilTheEnd(eventlog.Observer(log))), close: display.Close,
			warn: func(text string) { fmt.Fprintln(display.Writer(), text) },
		}, err
	}
	lines := eventlog.Lines(a.err, a.cfg.ProgressInterval)
	log, err := a.logger(a.err)
	return &shown{
		app: a, observe: backfill.Tee(lines.Observe, untilTheEnd(eventlog.Observer(log))), close: lines.Close,
		warn: func(text string) { fmt.Fprintln(harmless{a.err}, text) },
	}, err
}

// untilTheEnd leaves out how a run ended: where there is a summary for people, that says it.
func untilTheEnd(observe backfill.Observer) backfill.Observer {
	return func(e backfill.Event) {
		if _, over := e.(backfill.RunEnded); !over {
			observe(e)
		}
	}
}

// summary is the one at the end: what was done, what was not, and what to type next.
func (s *shown) summary(job backfill.Job, summary backfill.Summary, err error, file string) {
	if s.plain { // the log has it as an event, and standard output stays free of prose
		return
	}
	progressui.Summary(wrapping(s.app.out), summary, err, nextCommand(job, summary, err, s.app.verb, file))
}

// nextCommand is what to type after a run has ended like this.
func nextCommand(job backfill.Job, summary backfill.Summary, err error, verb, file string) string {
	switch {
	case err == nil && summary.Quarantined > 0:
		return "pgbackfill status " + summary.Job + " shows them; once the cause is mended: pgbackfill retry-quarantined " + file
	case err == nil && verb == "run" && verifiable(job):
		return "pgbackfill verify " + file
	case err == nil:
		return "pgbackfill status " + summary.Job
	case errors.Is(err, backfill.ErrCancelled) && verb == "run":
		return "pgbackfill run --again " + file
	}
	return "pgbackfill " + verb + " " + file
}

// verifiable reports whether there is anything that verify could hold the job's result against.
func verifiable(job backfill.Job) bool {
	_, err := verify.Checks(job)
	return err == nil
}
