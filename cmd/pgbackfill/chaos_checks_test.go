package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// finishes lets the run come to its end, by itself or, where nobody is at work any more, by running it again, and asserts
// that everything is as it should be.
func (w *world) finishes() {
	w.Helper()
	w.note("the end is waited for")
	if len(w.procs) == 0 {
		w.start()
	}
	pgtest.Eventually(w, 2*time.Minute, func() error { // the run has to be there, and steerable
		if w.over() {
			return nil
		}
		code, out := pgbackfill(w.T, w.direct(), w.dir, "set", "count", "rate=200000")
		if code != 0 && !w.over() {
			return fmt.Errorf("set: exit code %d: %s", code, out)
		}
		return nil
	})
	for _, p := range slices.Clone(w.procs) {
		if code := p.wait(w.T, 3*time.Minute); code != 0 {
			w.Fatalf("a process exits with %d; it said:\n%s", code, p.out)
		}
		w.remove(p)
	}
	if w.app != nil {
		w.app.end()
		if w.app.commits.Load() == 0 {
			w.Error("the application has written nothing")
		}
	}
	w.settled()
	w.exact()
	w.tellsTheTruth(true)
}

// settled asserts that nothing of the program is left: no session, lock or transaction on the server, no process, no file, no
// trigger and no table that does not belong to the schema.
func (w *world) settled() {
	w.Helper()
	w.settledButTable()
	for what, sql := range map[string]string{
		"a trigger":         "SELECT tgname::text FROM pg_trigger WHERE NOT tgisinternal AND tgrelid IN ('counters'::regclass, 'touches'::regclass)",
		"a table":           "SELECT relname::text FROM pg_class WHERE relnamespace = 'pgbackfill'::regnamespace AND relkind = 'r' AND relname ~ '[0-9]$'",
		"a temporary table": "SELECT oid::regclass::text FROM pg_class WHERE relpersistence = 't'",
	} {
		if left := all[string](w, sql); len(left) > 0 {
			w.Errorf("%s is left: %q", what, left)
		}
	}
}

// settledButTable is what of that holds where the table is gone too.
func (w *world) settledButTable() {
	w.Helper()
	pgtest.Eventually(w, 15*time.Second, func() error {
		left := all[string](w, `SELECT format('%s %s: %s', pid, application_name, state) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'pgbackfill%'`)
		if len(left) > 0 {
			return fmt.Errorf("sessions are left: %q", left)
		}
		return nil
	})
	for what, sql := range map[string]string{
		"an advisory lock":       "SELECT objid::text FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
		"a prepared transaction": "SELECT gid FROM pg_prepared_xacts",
	} {
		if left := all[string](w, sql); len(left) > 0 {
			w.Errorf("%s is left: %q", what, left)
		}
	}
	for _, p := range w.gone {
		w.noProcess(p)
	}
	if left := append(leftovers(w.tmp), leftovers(w.dir, "count.yaml", "fill.yaml", "pgbackfill.yaml")...); len(left) > 0 {
		w.Errorf("files are left: %q", left)
	}
}

// ranges are the ledger's chunks as ranges of keys.
const ranges = `SELECT int8range(after[1]::bigint, through[1]::bigint, '(]') AS r, c.* FROM pgbackfill.chunks AS c WHERE fence IS NULL`

// exact asserts that every row was changed as often as the ledger says, which is once where it has a chunk with the row and
// else not at all; that the ledger's chunks do not overlap, and follow one another; and that nothing of the application's
// writes was lost. A row that the application put behind the run may have been missed.
func (w *world) exact() {
	w.Helper()
	for _, off := range all[string](w, `WITH cover AS (SELECT COALESCE(range_agg(r), '{}') AS m FROM (`+ranges+`) AS l)
		SELECT format('row %s (late %s): counter %s, in the ledger %s', t.id, t.late, t.counter, t.id::bigint <@ cover.m)
		  FROM counters AS t, cover
		 WHERE CASE WHEN t.late THEN t.counter > (t.id::bigint <@ cover.m)::int ELSE t.counter <> (t.id::bigint <@ cover.m)::int END ORDER BY t.id LIMIT 5`) {
		w.Error(off)
	}
	for _, off := range all[string](w, `SELECT format('chunks of segments overlap: %s and %s', before, r) FROM (SELECT r, lag(r) OVER (ORDER BY r) AS before FROM (`+ranges+`) AS l) AS x WHERE r && before LIMIT 5`) {
		w.Error(off)
	}
	for _, off := range all[string](w, `SELECT format('chunk %s of segment %s begins after %s, and the one before it ends at %s', seq, segment, after, ended) FROM (
		SELECT segment, seq, after, lag(through) OVER s AS ended, row_number() OVER s AS n FROM pgbackfill.chunks WINDOW s AS (PARTITION BY segment ORDER BY seq)) AS x
		 WHERE seq <> n OR seq > 1 AND after IS DISTINCT FROM ended LIMIT 5`) {
		w.Error(off)
	}
	if left := ask[int64](w, `WITH cover AS (SELECT COALESCE(range_agg(r), '{}') AS m FROM (`+ranges+`) AS l)
		SELECT count(*) FROM counters AS t, cover WHERE NOT t.id::bigint <@ cover.m AND t.id <= $1`, w.rows*3-1000); left > 0 {
		w.Errorf("the run is finished, and %d rows that were there when it began are in no chunk", left)
	}
	if off := ask[int64](w, `SELECT count(*) FROM counters AS t LEFT JOIN (SELECT id, count(*) AS n FROM touches GROUP BY id) AS a USING (id) WHERE t.touched <> COALESCE(a.n, 0)`); off > 0 {
		w.Errorf("in %d rows the application's changes were overwritten", off)
	}
}

// tellsTheTruth asserts that status says what is so: a state that a run can be in, and how much of it is done.
func (w *world) tellsTheTruth(finished bool) {
	w.Helper()
	code, text := pgbackfill(w.T, w.direct(), w.dir, "status", "count", "-o", "json")
	if code != 0 {
		w.Errorf("status: exit code %d: %s", code, text)
		return
	}
	var s struct {
		State    string  `json:"state"`
		Progress float64 `json:"progress"`
		Live     int     `json:"live_processes"`
		Waiting  string  `json:"waiting"`
		Totals   struct {
			RowsSeen    int64 `json:"rows_seen"`
			RowsChanged int64 `json:"rows_changed"`
		} `json:"totals"`
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		w.Fatalf("%v: %s", err, text)
	}
	if s.Progress < 0 || s.Progress > 1 {
		w.Errorf("status gives a progress of %g", s.Progress)
	}
	if !finished {
		if !slices.Contains([]string{"preparing", "running", "finishing", "finished"}, s.State) {
			w.Errorf("the run is at work, and status says that it is %s (%s)", s.State, s.Waiting)
		}
		return
	}
	// The newest process may have been killed while it was on the list.
	done := ask[int64](w, "SELECT count(*) FROM counters WHERE counter = 1")
	if s.State != "finished" || s.Progress != 1 || s.Waiting != "" || s.Totals.RowsChanged < done {
		w.Errorf("%d rows are changed and the run is over; status says: %s", done, text)
	}
}
