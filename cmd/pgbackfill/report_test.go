package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbackfill/pgbackfill/backfill/contract"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/internal/report"
)

// A report says what it comes to first, and no more than is known: nothing is proven until it was read, nor by what was
// read before the last chunk. What was kept as JSON gives the same page later, without a database; what was changed
// meanwhile gives none.
//
// Made to fail: with verifications of earlier runs taken, the second run had the verdict of the first one's.
func TestReport(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	db.Exec(`CREATE TABLE "Users" (id int PRIMARY KEY, full_name text, display_name text);
		INSERT INTO "Users" SELECT g, 'user ' || g FROM generate_series(1, 2000) AS g; ANALYZE "Users"`)
	job := write(t, dir, "job.yaml", "name: names\ntable: '\"Users\"'\nupdate: {set: {display_name: initcap(t.full_name)}}\n")
	if _, out := pgbackfill(t, db.DSN(), dir, "report", "names"); !strings.Contains(out, "it was never run in this database") {
		t.Errorf("before anything was run: %s", out)
	}
	says := func(word report.Word, text string) report.Report {
		t.Helper()
		kept := filepath.Join(dir, string(word)+".json")
		must(t, db.DSN(), dir, "report", "names", "--to", kept)
		content, err := os.ReadFile(kept)
		if err != nil {
			t.Fatal(err)
		}
		r, err := report.Read(content)
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdict.Word != word || !strings.Contains(r.Verdict.Text, text) {
			t.Errorf("the verdict is %+v, want %s, %q", r.Verdict, word, text)
		}
		return r
	}
	must(t, db.DSN(), dir, "run", "--yes", "--chunk-rows", "100", job)
	r := says(report.Unproven, "nobody has verified")
	var rows, chunks int64
	for _, p := range r.Series.Points {
		rows, chunks = rows+p.Rows, chunks+p.Chunks
	}
	if rows != r.Run.Seen || chunks != r.Run.Chunks || len(r.Series.Points) != seriesSteps || r.Run.Changed != 2000 || len(r.Events) < 3 || r.Server.Database != db.Name() {
		t.Errorf("%d rows, %d chunks in %d points; run %+v; server %+v", rows, chunks, len(r.Series.Points), r.Run, r.Server)
	}
	must(t, db.DSN(), dir, "verify", job)
	says(report.Proven, "2 000 rows read, every one as it should be")

	kept := filepath.Join(dir, string(report.Proven)+".json")
	page := must(t, "", dir, "report", "--from", kept, "-o", "html")
	if !strings.Contains(page, "2 000 rows read") || !strings.Contains(page, "<svg") {
		t.Errorf("the page is\n%s", page)
	}
	for form, begins := range map[string]string{"markdown": "**proven**: ", "junit": "<?xml", "json": "{"} {
		if out := must(t, "", dir, "report", "--from", kept, "-o", form); !strings.HasPrefix(out, begins) {
			t.Errorf("as %s it is\n%s", form, out)
		}
	}
	text, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	forged := write(t, dir, "forged.json", strings.Replace(string(text), "finished", "FINISHED", 1))
	if out := mustExit(t, exitInput, "", dir, "report", "--from", forged); !strings.Contains(out, "it was changed after it was made") {
		t.Errorf("a forged report: %s", out)
	}

	db.Exec(`UPDATE "Users" SET display_name = 'topsecret' WHERE id = 7`)
	mustExit(t, exitMismatch, db.DSN(), dir, "verify", job)
	r = says(report.Mismatched, "1 row not as")
	if s := r.Verification.Samples; len(s) != 1 || pgtest.One[string](db, "SELECT display_name FROM ("+s[0].SQL+") AS row") != "topsecret" {
		t.Errorf("samples %+v", s)
	}
	if text, _ := os.ReadFile(filepath.Join(dir, string(report.Mismatched)+".json")); strings.Contains(string(text), "topsecret") {
		t.Error("the report shows a value")
	}
	must(t, db.DSN(), dir, "run", "--yes", "--again", job)
	says(report.Unproven, "nobody has verified")
	mustExit(t, 130, db.DSN(), dir, "run", "--yes", "--again", "--max-chunks", "3", "--chunk-rows", "100", job)
	mustExit(t, 4, db.DSN(), dir, "verify", job)
	says(report.Unproven, "run 3 is running")
	must(t, db.DSN(), dir, "run", "--yes", job)
	says(report.Incomplete, "verification 3 could not check everything")
}

// Each thing that keeps rows from being proven keeps the verdict from saying it.
//
// Made to fail: with the ledger not compared, what was verified before the last chunk was "proven".
func TestReportVerdict(t *testing.T) {
	t.Parallel()
	part := 0.1
	voided := time.Now()
	for want, spoil := range map[string]func(*report.Report){
		"proven: 7 rows read":                        func(*report.Report) {},
		"mismatched: 3 rows not as":                  func(r *report.Report) { r.Verification.Verdict, r.Verification.Mismatches = "mismatched", 3 },
		"refused: the gate refused at":               func(r *report.Report) { r.Gate = &report.Gate{Verdict: "refused"} },
		"incomplete: 1 row could not be changed":     func(r *report.Report) { r.Run.Quarantine = 1 },
		"unproven: run 2 is failed":                  func(r *report.Report) { r.Run.State = "failed" },
		"unproven: run 2 has finished, and nobody":   func(r *report.Report) { r.Verification = nil },
		"unproven: verification 5 is void":           func(r *report.Report) { r.Verification.Voided = &voided },
		"incomplete: verification 5 could not check": func(r *report.Report) { r.Verification.Verdict = "incomplete" },
		"unproven: verification 5 shows only":        func(r *report.Report) { r.Verification.Residual = []string{"no proof"} },
		"unproven: verification 5 read a sample":     func(r *report.Report) { r.Verification.Sample = &part },
		"unproven: rows were changed after":          func(r *report.Report) { r.Verification.Ledger = 8 },
	} {
		r := report.Report{Run: &report.Run{ID: 2, State: "finished"}, Verification: &report.Verification{ID: 5, Verdict: "proven", Checked: 7, Ledger: 9}}
		spoil(&r)
		if v := verdictOf(r, 9); !strings.HasPrefix(string(v.Word)+": "+v.Text, want) {
			t.Errorf("%s: %s, want %s", v.Word, v.Text, want)
		}
	}
}

// What is said to wait is what the events say, and no second is counted twice where several wait.
//
// Made to fail: with what was only counted written down as "throttled", a wait from 8 on.
func TestReportWaits(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	event := func(second int, who, what, text string) report.Event {
		return report.Event{At: start.Add(time.Duration(second) * time.Second), Who: who, What: what, Text: text}
	}
	waits := waitsPart([]report.Event{
		event(0, "a", "running", ""), event(2, "a", "throttled", "reason lag"), event(3, "b", "throttled", "reason lag"), event(5, "a", "goes on", "after 3s"),
		event(7, "b", "goes on", "after 4s"), event(8, "b", "throttled often", "reason 7 times, 3s in all, the last time: lag"), event(12, "ann", "paused", "why"),
		event(13, "ann", "running", ""), event(18, "b", "throttled", "reason slots"), event(20, "b", "finished", ""),
	}, start.Add(time.Hour))
	var got []string
	for _, w := range waits {
		got = append(got, fmt.Sprintf("%g-%g %s", w.From.Sub(start).Seconds(), w.To.Sub(start).Seconds(), w.Reason))
	}
	if diff := cmp.Diff([]string{"2-5 lag", "3-7 lag", "12-13 paused", "18-20 slots"}, got); diff != "" {
		t.Error(diff)
	}
	s := report.Series{Step: 4, Points: make([]report.Point, 5)}
	var waited []float64
	for i := range s.Points {
		s.Points[i].At = start.Add(time.Duration(4*i) * time.Second)
	}
	waitedIn(&s, waits)
	for _, p := range s.Points {
		waited = append(waited, p.Waited)
	}
	if diff := cmp.Diff([]float64{2, 3, 0, 1, 2}, waited); diff != "" {
		t.Error(diff)
	}
}

func TestReportUsage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if out := must(t, "", dir, "report", "--schema"); out != string(report.Schema) {
		t.Errorf("the schema is\n%s", out)
	}
	for want, args := range map[string][]string{
		"-o pdf; expected json, html, markdown or junit": {"report", "names", "-o", "pdf"},
		"takes one job, or --from":                       {"report"},
		"no such file":                                   {"report", "--from", "nowhere.json"},
	} {
		if out := mustExit(t, exitInput, "", dir, args...); !strings.Contains(out, want) {
			t.Errorf("%v: %s, want %q", args, out, want)
		}
	}
}

// A job that drops nothing can only be refused by the gate: what the report says of it is what was proven, and a refusal of one
// that drops something is said.
//
// Made to fail: with the gate's refusal first whatever it was about.
func TestReportOfAJobThatDropsNothing(t *testing.T) {
	t.Parallel()
	r := report.Report{Run: &report.Run{ID: 1, State: "finished"}, Verification: &report.Verification{ID: 2, Verdict: "proven", Ledger: 3}}
	for evidence, want := range map[string]report.Word{contract.NoDrops: report.Proven, "view v depends on it": report.Refused} {
		r.Gate = &report.Gate{Verdict: "refused", Conditions: []report.Condition{{ID: "dependencies", Status: "unknown", Evidence: evidence}}}
		if got := verdictOf(r, 3); got.Word != want {
			t.Errorf("where the gate says %q it is %+v, want %s", evidence, got, want)
		}
	}
}
