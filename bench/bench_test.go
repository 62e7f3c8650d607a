package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/throttle"
)

// The program that the tests measure is this binary, called with the arguments of pgbackfill: a test does not run the Go
// tool. It has the whole engine, and neither the job file's parser nor the configuration.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "run" || os.Args[1] == "--version") {
		os.Exit(engine(os.Args[1:]))
	}
	pgtest.Main(m)
}

func engine(args []string) int {
	f := flag.NewFlagSet("pgbackfill", flag.ContinueOnError)
	workers := f.Int("workers", 2, "")
	most := f.Int64("max-chunks", 0, "")
	f.Bool("yes", false, "")
	f.String("log-format", "", "")
	if args[0] == "--version" {
		return exitDone
	}
	if f.Parse(args[2:]) != nil {
		return 2
	}
	err := carryOut(context.Background(), strings.TrimSuffix(filepath.Base(args[1]), ".yaml"), *workers, *most)
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, backfill.ErrInterrupted):
		return exitInterrupted
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// benchJobs are what the job files of the benchmark say.
var benchJobs = map[string]struct {
	table, column string
	value         backfill.Expr
	walk          backfill.WalkKind
}{
	"bench":      {"users", "display_name", initcap, ""},
	"by-key":     {"users", "display_name", initcap, backfill.WalkKey},
	"foreground": {"pgbench_accounts", "filler2", backfill.Expr{SQL: "md5(t.aid || '/' || t.bid)", Functions: []string{"md5"}, Columns: []string{"t.aid", "t.bid"}}, ""},
}

var initcap = backfill.Expr{SQL: "initcap(t.full_name)", Functions: []string{"initcap"}, Columns: []string{"t.full_name"}}

func carryOut(ctx context.Context, name string, workers int, most int64) error {
	job := benchJobs[name]
	connect := func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, os.Getenv("DATABASE_URL")) }
	conn, err := connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	plan, err := (backfill.Planner{}).Plan(ctx, conn, backfill.Job{
		Name: name, Table: backfill.TableName{Schema: "public", Name: job.table}, Idempotent: true, Walk: job.walk,
		Steps: []backfill.Step{{Name: "update", Update: &backfill.Update{SkipUnchanged: true, Set: []backfill.Assignment{{Column: job.column, Value: job.value}}}}},
	}, backfill.Pace{Workers: workers})
	if err != nil {
		return err
	}
	if err := checkpoint.Install(ctx, conn, checkpoint.InstallOptions{}); err != nil {
		return err
	}
	store, err := checkpoint.Open(ctx, connect, checkpoint.Options{})
	if err != nil {
		return err
	}
	defer store.Close(ctx)
	run, created, err := store.Create(ctx, plan)
	if err != nil {
		return err
	}
	if !created {
		info, err := store.Find(ctx, plan.Job.Name)
		if err != nil {
			return err
		}
		info.Resume(plan)
		run = store.Attach(info)
	}
	limit, err := throttle.NewRate(0)
	if err != nil {
		return err
	}
	_, err = backfill.Work(ctx, backfill.Options{
		Run: run.ID(), Plan: plan, Process: run.Process(), Connect: connect,
		Ledger: run, Segments: run, Control: run, Throttle: limit, MaxChunks: most,
	})
	return err
}

// bench calls the benchmark as its main does, and returns what it said.
func bench(t *testing.T, args ...string) (string, report) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.json")
	var out, progress bytes.Buffer
	if code := run(append(args, "-smoke", "-durable=false", "-binary", os.Args[0], "-json", path), &out, &progress); code != 0 {
		t.Fatalf("exit code %d:\n%s\n%s", code, progress.String(), out.String())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return out.String(), r
}

// Every way is measured, comes to the same data, and is in the tables.
func TestCompare(t *testing.T) {
	t.Parallel()
	document := filepath.Join(t.TempDir(), "benchmarks.md")
	if err := os.WriteFile(document, []byte("Before.\n<!-- bench compare -->\nold\n<!-- /bench compare -->\nAfter.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, r := bench(t, "-markdown", document)
	if len(r.Ways) != len(rivals()) || len(r.Measurements) != len(rivals()) {
		t.Fatalf("%d ways, %d measurements; expected %d of each", len(r.Ways), len(r.Measurements), len(rivals()))
	}
	page, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range r.Ways {
		if w.Name != rivals()[i].name || w.Seconds <= 0 || w.RowsPerSecond <= 0 || w.Ratio <= 0 || w.WALBytes <= 0 || w.HeapGrowthBytes <= 0 {
			t.Errorf("way %d: %+v", i, w)
		}
		if runtime.GOOS == "linux" && w.ServerCPUSeconds <= 0 {
			t.Errorf("%s took no time of the server's processors", w.Name)
		}
		if own := strings.HasPrefix(w.Name, "pgbackfill"); own != (w.ClientPeakRSSBytes > 0) {
			t.Errorf("%s: memory of %d bytes", w.Name, w.ClientPeakRSSBytes)
		}
		for where, text := range map[string]string{"the terminal": out, "the document": string(page)} {
			if !strings.Contains(text, w.Name) {
				t.Errorf("%s is not shown in %s:\n%s", w.Name, where, text)
			}
		}
	}
	if r.Ways[0].Ratio != 1 {
		t.Errorf("one UPDATE is %.2f times as fast as one UPDATE", r.Ways[0].Ratio)
	}
	if len(r.Targets) != 6 || r.RowBytes < 170 || r.RowBytes > 210 || r.Machine.Settings["autovacuum"] != "off" {
		t.Errorf("report: %+v", r)
	}
	if text := string(page); !strings.HasPrefix(text, "Before.\n") || !strings.HasSuffix(text, "After.\n") || strings.Contains(text, "old\n") {
		t.Errorf("the document became:\n%s", text)
	}
}

// A way that leaves other data than it should is an error, however fast it was.
func TestWrongData(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]string{
		"a row left out":            "UPDATE users SET display_name = initcap(full_name) WHERE id <> 777",
		"a row that is gone":        "WITH gone AS (DELETE FROM users WHERE id = 777) UPDATE users SET display_name = initcap(full_name) WHERE id <> 777",
		"another column that moved": "UPDATE users SET display_name = initcap(full_name), updated_at = updated_at + CASE WHEN id = 777 THEN interval '1 us' ELSE '0' END",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, err := parse([]string{"-smoke", "-rows", "1", "-durable=false", "-binary", os.Args[0]}, os.Stderr)
			if err != nil {
				t.Fatal(err)
			}
			o.rows = 1000
			b, err := prepare(t.Context(), o, &bytes.Buffer{})
			if err != nil {
				t.Fatal(err)
			}
			defer b.close()
			err = b.compare(t.Context(), []rival{{name: single, run: sql(spoil)}}, &report{})
			if !errors.Is(err, errData) || !strings.Contains(err.Error(), single) {
				t.Errorf("got %v; expected an error about the data of %s", err, single)
			}
		})
	}
}

// The first chunk is measured on a new run and on a long ledger, which the engine then finishes: it believes that ledger.
func TestStart(t *testing.T) {
	t.Parallel()
	out, r := bench(t, "-start")
	s := r.Start
	if s == nil || s.LedgerRows < 1_900 || s.LedgerRows > 2_010 {
		t.Fatalf("report: %+v", r)
	}
	for _, b := range []beginning{s.Fresh, s.Resumed} {
		if b.Process <= 0 || b.FirstChunk <= 0 || b.Worst < b.FirstChunk || b.Planned > b.FirstChunk {
			t.Errorf("%+v", b)
		}
	}
	if len(r.Targets) != 2 || !strings.Contains(out, "2 0") {
		t.Errorf("targets %+v in:\n%s", r.Targets, out)
	}
}

// The application is watched beside each work, and its transactions are counted from when they should have begun.
//
// Made to fail: with sessions that are not ended pgbench went on for its ten minutes; with another expression in the one UPDATE, its data were said to be wrong.
func TestForeground(t *testing.T) {
	t.Parallel()
	out, r := bench(t, "-foreground")
	if len(r.Foreground) != 3 || len(r.Targets) != 2 {
		t.Fatalf("report: %+v", r)
	}
	for _, d := range r.Foreground {
		if d.Transactions <= 0 || d.P50 <= 0 || d.P99 < d.P50 || d.Worst < d.P99 || !strings.Contains(out, d.Name) {
			t.Errorf("%+v, in:\n%s", d, out)
		}
	}
}

// Of pgbench's log, what was at work within the time counts, as long as it took.
func TestLatencies(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const log = `0 1 1000 0 100 500000 0
1 1 900000 0 101 900000 20
0 2 2000 0 101 500000 0
0 3 failed 0 101 500000 0
0 4 3000 0 102 2000 0
0 5 4000 0 103 0 0
`
	if err := os.WriteFile(filepath.Join(dir, "app.7"), []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := latencies(dir, time.Unix(101, 0), time.Unix(102, 0))
	if diff := cmp.Diff([]float64{2, 3, 900}, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if p50, p99 := quantile(got, 0.5), quantile(got, 0.99); p50 != 3 || p99 != 900 {
		t.Errorf("p50 %g, p99 %g", p50, p99)
	}
}

func TestBadFlags(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-rows", "10"}, {"-repeat", "0"}, {"extra"}, {"-start", "-rows", "1000", "-ledger", "600"}, {"-nonsense"}} {
		var said bytes.Buffer
		if code := run(args, &said, &said); code != 2 || said.Len() == 0 {
			t.Errorf("%q: exit code %d, said %q", args, code, said.String())
		}
	}
}

func TestSummarise(t *testing.T) {
	t.Parallel()
	list := []rival{{name: single}, {name: engine1, how: "how"}, {name: "new", offline: true}}
	all := []measurement{
		{Rival: single, Round: 1, Seconds: 10, WALBytes: 100, HeapGrowthBytes: 1},
		{Rival: single, Round: 2, Seconds: 12, WALBytes: 102, HeapGrowthBytes: 1},
		{Rival: single, Round: 3, Seconds: 40, WALBytes: 300, HeapGrowthBytes: 1},
		{Rival: engine1, Round: 1, Seconds: 20, WALBytes: 50, ClientPeakRSSBytes: 7, ClientCPUSeconds: 1},
		{Rival: engine1, Round: 2, Seconds: 6, WALBytes: 70, ClientPeakRSSBytes: 9, ClientCPUSeconds: 3},
		{Rival: engine1, Round: 3, Seconds: 16, WALBytes: 60, ClientPeakRSSBytes: 8, ClientCPUSeconds: 2},
		{Rival: "new", Round: 1, Seconds: 5},
		{Rival: "new", Round: 2, Seconds: 6},
	}
	want := []way{
		{Name: single, Seconds: 12, RowsPerSecond: 100, Ratio: 1, RatioLeast: 1, RatioMost: 1, WALBytes: 102, HeapGrowthBytes: 1},
		{Name: engine1, How: "how", Seconds: 16, RowsPerSecond: 75, Ratio: 0.75, RatioLeast: 0.5, RatioMost: 2.5, WALBytes: 60, ClientCPUSeconds: 2, ClientPeakRSSBytes: 9},
		{Name: "new", Offline: true, Seconds: 5.5, RowsPerSecond: 1200 / 5.5, Ratio: 12 / 5.5, RatioLeast: 2, RatioMost: 2},
	}
	if diff := cmp.Diff(want, summarise(list, 1200, all)); diff != "" {
		t.Error(diff)
	}
}

// A target that was missed says so, and how much was missing.
func TestJudge(t *testing.T) {
	t.Parallel()
	r := report{
		Ways:  []way{{Name: single, Ratio: 1, WALBytes: 100, HeapGrowthBytes: 100}, {Name: engine1, Ratio: 0.9, ClientPeakRSSBytes: 65 * mebibyte}, {Name: engine2, Ratio: 1.79, ClientPeakRSSBytes: 3, WALBytes: 75, HeapGrowthBytes: 71}, {Name: byKey2, Ratio: 1.4}},
		Start: &starting{Fresh: beginning{Case: "new", FirstChunk: 0.99}, Resumed: beginning{Case: "resumed", FirstChunk: 1}},
	}
	r.judge()
	var got []string
	for _, row := range r.targetsTable()[1:] {
		got = append(got, strings.Join(row, ", "))
	}
	want := []string{
		"pgbackfill, 1 worker, against one UPDATE, ≥ 0.90, 0.90, PASS",
		"pgbackfill, 2 workers, against one UPDATE, ≥ 1.80, 1.79, MISS",
		"its WAL, against one UPDATE's, ≤ 0.75, 0.75, PASS",
		"its heap growth, against one UPDATE's, ≤ 0.70, 0.71, MISS",
		"pgbackfill by key, 2 workers, against one UPDATE, ≥ 1.40, 1.40, PASS",
		"pgbackfill's memory, ≤ 64 MiB, 65.0 MiB, MISS",
		"first chunk of new, < 1 s, 0.99 s, PASS",
		"first chunk of resumed, < 1 s, 1.00 s, MISS",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	list := table{{"way", "n"}, {"é", "10"}, {"long", "5"}}
	if got, want := list.aligned(), "way    n\né     10\nlong   5\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got, want := list.markdown(), "| way | n |\n|---|--:|\n| é | 10 |\n| long | 5 |\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// The document of the project is where the tables go.
func TestDocument(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/benchmarks.md")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "benchmarks.md")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, r := range []report{{Ways: []way{{Name: "a way"}}}, {Start: &starting{}}, {Foreground: []disturbance{{Name: "a way"}}}} {
		if err := r.writeMarkdown(path); err != nil {
			t.Error(err)
		}
	}
	if r := (&report{}); r.writeMarkdown("bench_test.go") == nil {
		t.Error("a document without marks was overwritten")
	}
}
