package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
)

var (
	update = flag.Bool("update", false, "write schema.json anew")
	pages  = flag.String("pages", "", "write the pages of the tests into this folder, to be looked at")
)

var made = time.Date(2026, 11, 22, 18, 30, 0, 0, time.UTC)

func text(s string) *string { return &s }

// proven is a report of a job that went well.
func proven() Report {
	started, finished := made.Add(-time.Hour), made.Add(-30*time.Minute)
	r := Report{
		Made: made, Tool: "v1.2.3", Verdict: Verdict{Proven, "1 000 000 rows are as they should be; the old column may be dropped"},
		Job:    Job{Name: "users-display-name", Description: "Gives every user a display name.", Table: "public.users", SpecHash: strings.Repeat("ab", 32), Spec: json.RawMessage(`{"name": "users-display-name", "where": "a < b & c"}`)},
		Server: Server{Address: "10.1.2.3:5432", Database: "app", Version: "15.18", Role: "verifier", LSN: "1/2A3B4C50"},
		Run: &Run{
			ID: 7, State: "finished", By: "ann@host", Tool: "v1.2.3", Created: started, Started: &started, Finished: &finished, Walk: "key (id)", Estimated: 1_000_000,
			Segments: 16, Done: 16, Chunks: 90, Seen: 1_000_000, Changed: 999_000, Swept: 12, Busy: 3600,
		},
		Verification: &Verification{
			ID: 3, Verdict: "proven", Started: finished, Finished: &made, By: "ann@host", Tool: "v1.2.3", Server: "10.1.2.3:5432/app", Role: "verifier", LSN: "1/2A3B4000",
			Ranges: 64, Expected: 1_000_000, Checked: 1_000_004, Checks: []Check{{Name: "derived", Kind: "same_row", Ranges: 64, Rows: 1_000_004}},
		},
		Gate: &Gate{Verdict: "ready", At: made, By: "ann@host", Conditions: []Condition{
			{ID: "coverage", Title: "every segment's chunks cover the walk", Status: "pass", Evidence: "16 of 16 segments, no gap", SQL: "SELECT count(*) FROM pgbackfill.segments"},
			{ID: "backup", Title: "a way back", Status: "waived", Evidence: "no backup is named", Waiver: "waived by ann until 2026-12-01: nightly dump"},
		}},
		DualWrite: &DualWrite{By: "trigger", Writes: 1234, Since: &started, Triggers: []Trigger{{"public.users", "pgbackfill_users_display_name", "enabled always"}}},
		Waits:     []Wait{{started, started.Add(time.Minute), "replica_lag 12.4s > 10s (standby eu-2)"}},
		Events:    []Event{{started, "ann@host", "running", ""}, {finished, "host:1:2", "finished", ""}},
	}
	r.Series.Step = 18
	for i := range 100 {
		lag := float64(i%7) / 10
		r.Series.Points = append(r.Series.Points, Point{
			At: started.Add(time.Duration(i) * 18 * time.Second), Chunks: 9, Rows: int64(10_000 + 137*i%900*9), Median: 0.09, Longest: 0.09 + float64(i%13)/50,
			Waited: float64(max(0, i%20-15)), Lag: &lag,
		})
	}
	return r
}

// wrong is a report with a thousand mismatches, full of what pages and tables could stumble over.
func wrong() Report {
	r := proven()
	r.Verdict = Verdict{Mismatched, "1 203 rows are not as they should be"}
	v := *r.Verification
	v.Verdict, v.Mismatches, v.Classes = "mismatched", 1203, map[string]int64{"dual_write_missed": 1200, "never_backfilled": 2, "extra": 1}
	v.Checks = []Check{{Name: "derived | <b>bold</b>", Kind: "same_row", Ranges: 64, Rows: 1_000_004, Different: 1203}}
	v.Incomplete = []string{"row security hides rows from the role verifier"}
	v.SkippedAll, v.Skipped = 1, []Skipped{{"derived", "id from 5 to 9", "canceling statement due to statement timeout"}}
	for i := range 1000 {
		v.Samples = append(v.Samples, Mismatch{
			Check: v.Checks[0].Name, Kind: "different", Class: "dual_write_missed", Confidence: "likely",
			Evidence: "the row was last written by a transaction that the chunk's snapshot does not show: <script>alert(1)</script>",
			Key:      []*string{text(fmt.Sprint(i)), nil}, Columns: []string{"display_name"}, Expected: []*string{text(strings.Repeat("é long value ", i%9))}, Actual: []*string{nil},
			Hashed: i%2 == 1, SQL: fmt.Sprintf("SELECT * FROM public.users WHERE id = '%d'", i),
		})
	}
	r.Verification = &v
	r.Gate = &Gate{Verdict: "refused", At: made, By: "bob", Conditions: []Condition{
		{ID: "verified", Title: "a clean verification", Status: "fail", Evidence: "verification 3 found 1 203 wrong rows"},
		{ID: "statements", Title: "no statement names the old column", Status: "unknown", Evidence: "pg_stat_statements is not installed | not readable"},
	}}
	r.DualWrite.DriftAll, r.DualWrite.Drift = 1, []DriftEntry{{made, "{4711}", "billing-service", "app", "UPDATE users SET full_name = $1 WHERE `id` = $2"}}
	return r
}

// long is a report full of names that know no space to break at.
func long() Report {
	name := strings.Repeat("a_very_long_identifier_", 3)[:63]
	r := wrong()
	r.Verdict = Verdict{Mismatched, "1 203 rows are not as they should be: " + strings.Repeat(name, 3)}
	r.Job.Name, r.Job.Table, r.Job.Description = strings.Repeat("job-", 30), name+"."+name, strings.Repeat("Describes at length. ", 40)
	r.Server.Address, r.Server.Database, r.Server.Role = strings.Repeat("db-", 40)+"example.com:5432", name, name
	r.Run.By, r.Verification.By, r.Verification.Role = strings.Repeat("x", 120), name+"@"+name, name
	r.Verification.Checks[0].Name = name + name
	for i := range r.Verification.Samples {
		m := &r.Verification.Samples[i]
		m.Check, m.Key, m.Columns = name+name, []*string{text(strings.Repeat("0123456789abcdef", 8)), nil}, []string{name, name}
		m.Expected, m.Actual = []*string{text(strings.Repeat("w", 300)), nil}, []*string{nil, text(strings.Repeat("é", 300))}
	}
	r.Gate.Conditions[0].Evidence, r.Gate.Conditions[0].SQL = strings.Repeat(name+".", 4), "SELECT "+strings.Repeat(name+", ", 20)+"1"
	r.DualWrite.Triggers[0] = Trigger{name + "." + name, "pgbackfill_" + name, "enabled always"}
	r.DualWrite.Drift = []DriftEntry{{made, "{" + strings.Repeat("k", 200) + "}", name, name, "UPDATE " + name + " SET " + strings.Repeat(name+" = 1, ", 20)}}
	r.Waits[0].Reason = strings.Repeat(name+" ", 4)
	r.Events = append(r.Events, Event{made, name + "@" + name, strings.Repeat("y", 150), strings.Repeat("z", 300)})
	return r
}

func reports() map[string]Report {
	return map[string]Report{
		"proven": proven(), "wrong": wrong(),
		"long":  long(),
		"empty": {Made: made, Tool: "dev", Verdict: Verdict{Unproven, "the job was never run"}, Job: Job{Name: "never", Table: "public.t"}},
	}
}

// The published schema is that of the form, and every report keeps to it.
//
// Made to fail: with a field left out of schema.json, a report that has it is refused.
func TestSchema(t *testing.T) {
	t.Parallel()
	reflector := jsonschema.Reflector{Anonymous: true, Mapper: func(t reflect.Type) *jsonschema.Schema {
		if t != reflect.TypeFor[[]*string]() {
			return nil
		}
		return &jsonschema.Schema{Type: "array", Items: &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "string"}, {Type: "null"}}}}
	}}
	s := reflector.Reflect(Report{})
	s.ID, s.Title = "https://github.com/pgbackfill/pgbackfill/internal/report/schema.json", "A report of pgbackfill"
	want, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile("schema.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
	} else if !bytes.Equal(want, Schema) {
		t.Error("schema.json is not that of the form: go test ./internal/report -update")
	}
	document, err := validator.UnmarshalJSON(bytes.NewReader(want))
	if err != nil {
		t.Fatal(err)
	}
	c := validator.NewCompiler()
	if err := c.AddResource("report.json", document); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("report.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range reports() {
		value, err := validator.UnmarshalJSON(bytes.NewReader(sealed(t, r)))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiled.Validate(value); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func sealed(t *testing.T, r Report) []byte {
	t.Helper()
	r, err := r.Sealed()
	if err != nil {
		t.Fatal(err)
	}
	text, err := r.JSON()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A report that was kept is read as what it was; one that was changed meanwhile is not.
//
// Made to fail: with the hash not compared, the changed one was read.
func TestReadOfWhatWasChanged(t *testing.T) {
	t.Parallel()
	for name, r := range reports() {
		text := sealed(t, r)
		again, err := Read(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Equal(text, sealed(t, again)) {
			t.Errorf("%s is another one after it was read", name)
		}
		changed := bytes.Replace(text, []byte(r.Job.Name), []byte("other"), 1)
		if _, err := Read(changed); err == nil || !strings.Contains(err.Error(), "it was changed after it was made") {
			t.Errorf("%s, changed: %v", name, err)
		}
		later := bytes.Replace(text, []byte(`"version": 1`), []byte(`"version": 2`), 1)
		if _, err := Read(later); err == nil || !strings.Contains(err.Error(), "version 2") {
			t.Errorf("%s, of a later version: %v", name, err)
		}
	}
}

// A page is whole in itself, says the verdict first, and takes nothing from the database for markup.
//
// Made to fail: with a text/template in the place of html/template the script was in the page.
func TestHTML(t *testing.T) {
	t.Parallel()
	for name, r := range reports() {
		r, err := r.Sealed()
		if err != nil {
			t.Fatal(err)
		}
		page, err := r.HTML()
		if err != nil {
			t.Fatal(err)
		}
		if *pages != "" {
			if err := os.WriteFile(filepath.Join(*pages, name+".html"), page, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		s := string(page)
		for _, bad := range []string{"<script", "<b>", "src=", "@import", "<link", "url("} {
			if strings.Contains(s, bad) {
				t.Errorf("%s: the page has %q", name, bad)
			}
		}
		body := s[strings.Index(s, "<body>"):]
		if at := strings.Index(body, r.Verdict.Text); at < 0 || at > strings.Index(body, "<h2>") {
			t.Errorf("%s: the verdict does not come first", name)
		}
		if drawn := strings.Count(body, "<svg"); drawn != map[string]int{"proven": 8, "wrong": 8, "long": 8}[name] {
			t.Errorf("%s: %d charts", name, drawn)
		}
	}
}

// The short forms say the verdict and every condition; what is not known never passes.
//
// Made to fail: with unknown taken for pass, JUnit had no error.
func TestShortForms(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct{ tests, failures, errors, skipped int }{
		"proven": {4, 0, 0, 1}, "wrong": {4, 3, 1, 0}, "long": {4, 3, 1, 0}, "empty": {1, 0, 1, 0},
	} {
		r := reports()[name]
		lines := strings.SplitN(string(r.Markdown()), "\n", 2)
		if !strings.HasPrefix(lines[0], "**"+string(r.Verdict.Word)+"**") {
			t.Errorf("%s: Markdown begins with %q", name, lines[0])
		}
		if strings.Contains(lines[1], "<b>") || strings.Contains(lines[1], "derived | <") {
			t.Errorf("%s: Markdown takes what it shows for markup:\n%s", name, lines[1])
		}
		text, err := r.JUnit()
		if err != nil {
			t.Fatal(err)
		}
		var got suites
		if err := xml.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		s := got.Suites[0]
		if s.Tests != want.tests || s.Failures != want.failures || s.Errors != want.errors || s.Skipped != want.skipped {
			t.Errorf("%s: %d tests, %d failures, %d errors, %d skipped; want %+v:\n%s", name, s.Tests, s.Failures, s.Errors, s.Skipped, want, text)
		}
	}
}
