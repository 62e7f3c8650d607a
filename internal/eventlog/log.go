// Package eventlog writes what happens in a run as lines: each event as a structured log
// record, and the progress every few seconds for those who have no live display.
package eventlog

import (
	"io"
	"os"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/term"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// Formats of a log.
const (
	// FormatAuto is console here; the caller shows a live display instead where it can.
	FormatAuto    = "auto"
	FormatConsole = "console"
	FormatJSON    = "json"
)

// New makes a logger that writes a line an event to w, from any goroutine. The format is
// "json", "console" or "auto", the level "debug", "info", "warn" or "error" ("trace" adds
// every chunk before its commit); anything else is an error. Console lines are coloured where
// w is a terminal or says, by a method Color, that it writes on one, and NO_COLOR is not set.
func New(w io.Writer, format, level string) (zerolog.Logger, error) {
	least, err := zerolog.ParseLevel(level)
	if err != nil || level == "" {
		return zerolog.Nop(), backfill.Inputf("log.level", "use debug, info, warn or error", "unknown level %q", level)
	}
	color := coloured(w)
	w = zerolog.SyncWriter(w)
	switch format {
	case FormatJSON:
	case FormatConsole, FormatAuto:
		w = zerolog.ConsoleWriter{Out: w, NoColor: !color, TimeFormat: time.TimeOnly}
	default:
		return zerolog.Nop(), backfill.Inputf("log.format", "use auto, console or json", "unknown format %q", format)
	}
	return zerolog.New(w).Level(least).With().Timestamp().Logger(), nil
}

func coloured(w io.Writer) bool {
	if os.Getenv("NO_COLOR") != "" {
		return false
	}
	switch w := w.(type) {
	case *os.File:
		return term.IsTerminal(int(w.Fd()))
	case interface{ Color() bool }:
		return w.Color()
	}
	return false
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(100*time.Microsecond)) / float64(time.Millisecond)
}

func sum(list []int64) int64 {
	var n int64
	for _, v := range list {
		n += v
	}
	return n
}
