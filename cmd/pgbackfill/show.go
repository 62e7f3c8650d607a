package main

import (
	"io"

	"github.com/pgbackfill/pgbackfill/backfill"
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
}

func (a *app) show() (*shown, error) {
	switch {
	case a.cfg.Log.Format == "json":
		log, err := a.logger(a.err)
		if err != nil {
			return nil, err
		}
		records := eventlog.Records(log, a.cfg.ProgressInterval)
		return &shown{app: a, observe: backfill.Tee(eventlog.Observer(log), records.Observe), close: records.Close, plain: true}, nil
	case progressui.Usable(a.err) && a.cfg.Log.Format == "auto":
		display := progressui.Start(a.err)
		log, err := a.logger(display.Writer())
		return &shown{app: a, observe: backfill.Tee(display.Observe, eventlog.Observer(log)), close: display.Close}, err
	}
	lines := eventlog.Lines(a.err, a.cfg.ProgressInterval)
	log, err := a.logger(a.err)
	return &shown{app: a, observe: backfill.Tee(lines.Observe, eventlog.Observer(log)), close: lines.Close}, err
}

// summary is the one at the end: what was done, what was not, and what to type next.
func (s *shown) summary(summary backfill.Summary, err error, file string) {
	var w io.Writer = s.app.out
	if s.plain { // the log has it as an event, and standard output stays free of prose
		return
	}
	progressui.Summary(w, summary, err, nextCommand(summary, err, file))
}

// nextCommand is what to type after a run has ended like this.
func nextCommand(summary backfill.Summary, err error, file string) string {
	switch {
	case err == nil:
		return "pgbackfill status " + summary.Job
	case summary.State == backfill.StateCancelled:
		return "pgbackfill run --again " + file
	}
	return "pgbackfill run " + file
}
