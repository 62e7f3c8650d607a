package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/internal/eventlog"
)

// What the program says beside a command's own output goes to standard error: as prose, or,
// where the log is JSON, as one object a line and nothing else.

// log is the log of standard error where it is JSON.
func (a *app) log() (zerolog.Logger, bool) {
	format, level := a.cfg.Log.Format, a.cfg.Log.Level
	if format == "" { // there is no configuration yet, and what is wrong may be the configuration
		format, level = wishedFormat(a.args), "info"
	}
	if format != eventlog.FormatJSON {
		return zerolog.Nop(), false
	}
	log, err := eventlog.New(a.err, format, level)
	return log, err == nil
}

// wishedFormat is the log's format as far as the command line alone says it, which could
// not be read as a whole.
func wishedFormat(args []string) string {
	for i, arg := range args {
		if value, ok := strings.CutPrefix(arg, "--log-format="); ok {
			return value
		}
		if arg == "--log-format" && i+1 < len(args) {
			return args[i+1]
		}
	}
	return os.Getenv("PGBACKFILL_LOG_FORMAT")
}

// note says something that is good to know.
func (a *app) note(kind, text string) {
	if log, ok := a.log(); ok {
		level := zerolog.InfoLevel
		if kind == "warning" {
			level = zerolog.WarnLevel
		}
		log.WithLevel(level).Msg(text)
		return
	}
	fmt.Fprintln(wrapping(a.err), kind+": "+text)
}

// fail says what went wrong.
func (a *app) fail(err error) {
	log, ok := a.log()
	if !ok {
		fmt.Fprintln(harmless{a.err}, "pgbackfill: "+err.Error())
		return
	}
	for _, one := range apart(err) {
		z := log.Error()
		var e *backfill.Error
		if !errors.As(one, &e) {
			z.Msg(one.Error())
			continue
		}
		for _, field := range []struct{ name, text string }{{"place", e.Place}, {"expected", e.Expected}, {"remedy", e.Remedy}} {
			if field.text != "" {
				z.Str(field.name, field.text)
			}
		}
		z.Msg((&backfill.Error{Found: e.Found, Err: e.Err}).Error())
	}
}

// apart gives the errors of a list of errors, each of which is a line or more of its text.
func apart(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	list := joined.Unwrap()
	texts := make([]string, len(list))
	for i, one := range list {
		texts[i] = one.Error()
	}
	if strings.Join(texts, "\n") != err.Error() {
		return []error{err} // one error of two kinds, not two errors
	}
	return list
}

// findings says what preflight noticed before a run: of notes, which stop nobody, only that they
// are there. The log, where it is JSON, has all of them.
func (a *app) findings(list []backfill.Finding, file string) {
	log, ok := a.log()
	if !ok {
		var grave []backfill.Finding
		var notes []string
		for _, f := range list {
			if f.Severity == backfill.SeverityNote {
				notes = append(notes, f.ID)
				continue
			}
			grave = append(grave, f)
		}
		w := wrapping(a.err)
		writeFindings(w, grave)
		if len(notes) > 0 {
			fmt.Fprintf(w, "notes: %s; see: pgbackfill plan %s\n", strings.Join(notes, ", "), file)
		}
		return
	}
	levels := map[backfill.Severity]zerolog.Level{
		backfill.SeverityError: zerolog.ErrorLevel, backfill.SeverityWarning: zerolog.WarnLevel, backfill.SeverityNote: zerolog.InfoLevel,
	}
	for _, f := range list {
		z := log.WithLevel(levels[f.Severity]).Str("finding", f.ID).Str("evidence", f.Evidence).Str("remedy", f.Remedy)
		if f.Accepted != "" {
			z.Str("accepted_by", f.Accepted)
		}
		z.Msg(f.Title)
	}
}

// brief says in short what a run would do.
func (a *app) brief(plan *backfill.Plan) {
	log, ok := a.log()
	if !ok {
		writePlanBrief(wrapping(a.err), plan)
		return
	}
	log.Info().Str("job", plan.Job.Name).Str("table", plan.Table.Quoted).Str("database", plan.Server.Database).
		Str("walk", plan.Walk).Str("walk_reason", plan.WalkReason).Int("segments", len(plan.Segments)).Int("workers", plan.Pace.Workers).
		Int64("estimated_rows", plan.EstimatedRows).Int64("estimated_chunks", plan.EstimatedChunks).Int64("estimated_wal_bytes", plan.EstimatedWAL).
		Msg("planned")
}

// result says what a command came to: on standard output, or in the log where that is JSON.
func (a *app) result(text string) {
	if log, ok := a.log(); ok {
		log.Info().Msg(strings.Join(strings.Fields(text), " "))
		return
	}
	fmt.Fprintln(harmless{a.out}, text)
}

// undoneAt says when a run was taken back.
func undoneAt(info checkpoint.RunInfo) string {
	if info.Undo == nil {
		return when(nil)
	}
	return when(info.Undo.EndedAt)
}

// timeShown is how a time is shown to people: whose clock it is matters between two of them.
const timeShown = "2006-01-02 15:04:05 -07:00"

// when says a time to people.
func when(t *time.Time) string {
	if t == nil {
		return "at an unknown time"
	}
	return t.Local().Format(timeShown)
}
