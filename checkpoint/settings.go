package checkpoint

import (
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// bounds hold for every transaction of the store's: it never holds anybody up for long.
var bounds = pgsql.Limits{Lock: time.Second, Statement: 30 * time.Second, Idle: 30 * time.Second}

// The settings that the store's transactions begin with.
var (
	settings = setLocal(bounds)
	// hastySettings are for what may as well not happen now.
	hastySettings = setLocal(pgsql.Limits{Lock: 200 * time.Millisecond, Statement: bounds.Statement, Idle: bounds.Idle})
	// beatSettings do not wait for the disk: a heartbeat that a crash takes is no loss.
	beatSettings = setLocal(pgsql.Limits{Lock: bounds.Lock, Statement: bounds.Statement, Idle: bounds.Idle, SynchronousCommit: "off"})
	// durableSettings wait for the disk, and so for every commit before; reading a long ledger takes its time.
	durableSettings = setLocal(pgsql.Limits{Lock: bounds.Lock, Statement: time.Hour, Idle: bounds.Idle, SynchronousCommit: "on"})
)

func setLocal(limits pgsql.Limits) pgsql.Statement {
	return pgsql.SetLocal(append([]pgsql.Setting{
		{Name: "search_path", Value: "pg_catalog, pg_temp"},
		{Name: "TimeZone", Value: "UTC"},
		{Name: "DateStyle", Value: "ISO, MDY"},
		{Name: "IntervalStyle", Value: "postgres"},
		{Name: "extra_float_digits", Value: "1"},
	}, limits.Settings()...)...)
}
