package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// moment is a point in time on the command line: 2026-01-31, "2026-01-31 15:04", 2026-01-31T15:04:05+01:00. Without a
// zone it is local time.
type moment struct{ time.Time }

func (m *moment) String() string {
	if m.IsZero() {
		return ""
	}
	return m.Format(time.RFC3339)
}

// Type is what help calls it.
func (m *moment) Type() string { return "TIME" }

// Set reads it.
func (m *moment) Set(text string) error {
	for _, form := range []string{time.RFC3339, "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if at, err := time.ParseInLocation(form, text, time.Local); err == nil {
			m.Time = at
			return nil
		}
	}
	return fmt.Errorf("expected a time, as in 2026-01-31T15:04:05+01:00 or 2026-01-31")
}

// backupFlag defines --backup-at.
func (a *app) backupFlag(c *cobra.Command) {
	c.Flags().Var(&a.backupAt, "backup-at", "when the last backup was made that can be restored")
}
