package backfill

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// A backup is attested by the job's query, or by whoever says when it was; one that is too old, missing, or cannot be
// asked for is a finding that says so, and never an error.
//
// Made to fail: with Age compared the other way round; with the savepoint left out (the plan fails with the query).
func TestPreflightBackup(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(`CREATE TABLE w (id bigint PRIMARY KEY, full_name text, v text); CREATE TABLE backups (finished_at timestamptz)`)
	for _, c := range []struct {
		query string
		said  time.Duration
		words string
	}{
		{query: "SELECT now() - interval '1 hour'"},
		{query: "SELECT (now() AT TIME ZONE 'UTC')::timestamp -- in UTC, as the job's settings are"},
		{query: "SELECT now() - interval '3 days'", words: "ago; it may be 24h0m0s old"},
		{query: "SELECT now() + interval '3 days'", words: "which is yet to come"},
		{query: "SELECT max(finished_at) FROM backups", words: "finds none"},
		{query: "SELECT finished_at FROM backups", words: "finds none"},
		{query: "SELECT 'infinity'::timestamptz", words: "infini"},
		{query: "SELECT now() FROM generate_series(1, 3)", words: "more than one row"},
		{query: "SELECT at FROM nowhere", words: `relation "nowhere" does not exist`},
		{query: "SELECT 5", words: "cannot cast"},
		{query: "SELECT at FROM nowhere", said: time.Minute},
		{said: 25 * time.Hour, words: "ago; it may be 24h0m0s old"},
		{words: "nobody said --backup-at"},
	} {
		job := setJob("v", "upper(t.full_name)")
		planner := Planner{}
		if c.query != "" {
			job.Contract = &Contract{Backup: &Backup{Query: Expr{SQL: c.query}, MaxAge: DefaultBackupMaxAge}}
		}
		if c.said > 0 {
			planner.BackupAt = time.Now().Add(-c.said)
		}
		plan, err := planner.Plan(t.Context(), db.Conn(), job, Pace{})
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		at := slices.IndexFunc(plan.Findings, func(f Finding) bool { return f.ID == "backup-not-attested" })
		switch {
		case at < 0 && c.words != "":
			t.Errorf("%+v: no finding", c)
		case at >= 0 && (c.words == "" || !strings.Contains(plan.Findings[at].Evidence, c.words)):
			t.Errorf("%+v: %+v", c, plan.Findings[at])
		}
	}
}
