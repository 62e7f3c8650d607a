package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// The program that the tests measure is this binary, called with the arguments of pgbackfill: a test does not run the Go
// tool. It has the whole engine and the job file's parser, and not the configuration.
func TestMain(m *testing.M) {
	// Nothing but the go tool's flags begins the tests: a command that is not known would begin them again, and again.
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-test.") {
		os.Exit(engine(os.Args[1], os.Args[2:]))
	}
	pgtest.Main(m)
}

func engine(command string, args []string) int {
	if command == "--version" {
		return exitDone
	}
	f := flag.NewFlagSet("pgbackfill", flag.ContinueOnError)
	var pace backfill.Pace
	f.IntVar(&pace.Workers, "workers", 2, "")
	f.IntVar(&pace.ChunkRows, "chunk-rows", 0, "")
	most := f.Int64("max-chunks", 0, "")
	f.Bool("yes", false, "")
	f.Bool("allow-programs", false, "")
	f.String("log-format", "", "")
	if len(args) == 0 || f.Parse(args[1:]) != nil {
		return 2
	}
	e := embed(os.Getenv("DATABASE_URL"), pace)
	e.maxChunks = *most
	do, known := map[string]func(context.Context, string) error{
		"run": e.run, "verify": e.verify, "plan": func(ctx context.Context, path string) error { _, err := e.plan(ctx, path); return err },
	}[command]
	if !known {
		fmt.Fprintln(os.Stderr, "the tests' program has no", command)
		return 2
	}
	err := do(context.Background(), args[0])
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, backfill.ErrInterrupted):
		return exitInterrupted
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// bench calls the benchmark as its main does, and returns what it said and kept, by name, and the folder.
func bench(t *testing.T, args ...string) (said string, kept map[string]result, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "measured")
	var out, progress bytes.Buffer
	if code := run(append([]string{"-smoke", "-durable=false", "-binary", os.Args[0], "-out", dir}, args...), &out, &progress); code != 0 {
		t.Fatalf("exit code %d:\n%s\n%s", code, progress.String(), out.String())
	}
	list, err := load(dir)
	if err != nil {
		t.Fatal(err)
	}
	kept = map[string]result{}
	for _, r := range list {
		kept[r.name()] = *r
	}
	return out.String(), kept, dir
}

// Every way is measured, comes to the same data, is in the tables that are printed, and in the document. `make long` has the other tables.
func TestCompare(t *testing.T) {
	t.Parallel()
	kept := compared(t, "random", "scoped")
	if got := kept["compare-random"].Settings["shared_buffers"]; got != "4MB" {
		t.Errorf("the random table was measured with shared_buffers of %q", got)
	}
	if got := kept["compare-scoped"].Machine.Settings["shared_buffers"]; got != "64MB" {
		t.Errorf("the table after it was measured with shared_buffers of %s", got)
	}
	if n := len(kept["compare-random"].Targets); n != 3 {
		t.Errorf("%d targets of the random table", n)
	}
}

// compared measures tables side by side, and looks at everything that is known of them then.
func compared(t *testing.T, names ...string) map[string]result {
	t.Helper()
	out, kept, dir := bench(t, "-only", "compare", "-table", strings.Join(names, ","))
	page, err := os.ReadFile(dir + ".md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		of, err := tableNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		r, want := kept["compare-"+of.name], len(rivals())+len(engines(of))
		if len(r.Ways) != want || len(r.Measurements) != want || r.Rows != smokeRows || r.RowBytes < 170 || r.RowBytes > 1100 || r.Machine.Settings["autovacuum"] != "off" {
			t.Fatalf("%s: expected %d ways: %+v", of.name, want, r)
		}
		if r.Ways[0].Name != single || r.Ways[0].Ratio != 1 {
			t.Errorf("%s: the first way is %s, with a speed of %.2f", of.name, r.Ways[0].Name, r.Ways[0].Ratio)
		}
		for _, w := range r.Ways {
			lookAtWay(t, of, w)
			for where, text := range map[string]string{"the terminal": out, "the document": string(page)} {
				if !strings.Contains(text, w.Name) || !strings.Contains(text, of.name) {
					t.Errorf("%s on %s is not shown in %s:\n%s", w.Name, of.name, where, text)
				}
			}
		}
	}
	return kept
}

func lookAtWay(t *testing.T, of table, w way) {
	t.Helper()
	if w.Seconds <= 0 || w.RowsPerSecond <= 0 || w.Ratio <= 0 || w.WALBytes <= 0 || w.HeapGrowthBytes <= 0 || of.where == "" && w.IndexGrowthBytes <= 0 {
		t.Errorf("%s: %+v", of.name, w)
	}
	if own := strings.HasPrefix(w.Name, "pgbackfill"); own != (w.ClientPeakRSSBytes > 0) || runtime.GOOS == "linux" && own && w.ServerCPUSeconds <= 0 {
		t.Errorf("%s, %s: memory of %d bytes, %.2f s of the server's processors", of.name, w.Name, w.ClientPeakRSSBytes, w.ServerCPUSeconds)
	}
	switch {
	case w.Offline != (w.HOTShare == nil):
		t.Errorf("%s, %s: a HOT share of %v", of.name, w.Name, w.HOTShare)
	case of.name == "fillfactor" && !w.Offline && *w.HOTShare < 0.1:
		t.Errorf("%s: of rows with a fifth of a page free a share of %.2f stayed", w.Name, *w.HOTShare)
	}
}

// A way that leaves other data than it should is an error, however fast it was.
func TestWrongData(t *testing.T) {
	t.Parallel()
	b := shop(t, "-rows", "1000")
	if err := b.makeTable(t.Context(), tables()[0], 1000); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]string{
		"a row left out":            "UPDATE users SET display_name = initcap(full_name) WHERE id <> 777",
		"a row that is gone":        "WITH gone AS (DELETE FROM users WHERE id = 777) UPDATE users SET display_name = initcap(full_name) WHERE id <> 777",
		"another column that moved": "UPDATE users SET display_name = initcap(full_name), updated_at = updated_at + CASE WHEN id = 777 THEN interval '1 us' ELSE '0' END",
	} {
		spoilt := trial{name: single, run: measured(func(ctx context.Context, b *workshop) error { return b.exec(ctx, spoil) })}
		if _, err := b.interleave(t.Context(), "compare", []trial{spoilt}, 1); !errors.Is(err, errData) || !strings.Contains(err.Error(), single) {
			t.Errorf("%s: got %v; expected an error about the data of %s", name, err, single)
		}
	}
}

// shop is a workshop of a test.
func shop(t *testing.T, args ...string) *workshop {
	t.Helper()
	o, err := parse(append([]string{"-smoke", "-durable=false", "-binary", os.Args[0], "-out", t.TempDir()}, args...), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	b, err := prepare(t.Context(), o, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// On a server of the user's own nothing is dropped that is not the benchmark's, nothing stays there, and what cannot be measured is said.
//
// Made to fail: without the look for runs of others the schema pgbackfill with one in it was gone.
func TestOwnServer(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	out, kept, dir := bench(t, "-dsn", db.DSN(), "-only", "compare", "-table", "random", "-way", "pgbackfill")
	r := kept["compare-random"]
	if len(r.Ways) != 2 || r.Ways[1].Name != engine2 || r.Ways[1].ServerCPUSeconds != 0 || !r.Machine.Elsewhere || r.Machine.PostgreSQL == "" {
		t.Errorf("%+v", r)
	}
	for _, want := range []string{"server CPU", "no cold start", "shared_buffers=4MB"} {
		if !strings.Contains(strings.Join(r.Missing, "\n"), want) || !strings.Contains(out, want) {
			t.Errorf("nothing is said of %s: %q, %s", want, r.Missing, out)
		}
	}
	if strings.Contains(r.Command, "postgres") {
		t.Errorf("the address is kept: %s", r.Command)
	}
	if page, err := os.ReadFile(dir + ".md"); err != nil || !strings.Contains(string(page), "### random") {
		t.Error(err, string(page))
	}
	const left = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pgbackfill%'"
	if n := pgtest.One[int](db, left); n != 0 {
		t.Errorf("%d schemas were left", n)
	}
	for _, step := range []struct{ name, sql string }{
		{"a ledger", "CREATE SCHEMA pgbackfill"},
		{"a schema of the same name", "DROP SCHEMA pgbackfill; CREATE SCHEMA pgbackfill_bench"},
		{"what was killed, and a run of others since", "COMMENT ON SCHEMA pgbackfill_bench IS $$" + mark + "$$; CREATE SCHEMA pgbackfill; CREATE TABLE pgbackfill.runs AS SELECT 'theirs' AS job"},
	} {
		db.Exec(step.sql)
		there := pgtest.One[int](db, left)
		var said bytes.Buffer
		if code := run([]string{"-smoke", "-only", "compare", "-table", "wide", "-way", "none", "-dsn", db.DSN(), "-binary", os.Args[0], "-out", dir}, &said, &said); code != 1 || !strings.Contains(said.String(), "database") {
			t.Errorf("%s: exit code %d, said %s", step.name, code, said.String())
		}
		if n := pgtest.One[int](db, left); n != there {
			t.Errorf("%s: of %d schemas %d are left", step.name, there, n)
		}
	}
}

func TestBadFlags(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-rows", "10"}, {"-repeat", "-1"}, {"extra"}, {"-only", "nothing"}, {"-table", "random,none"}, {"-dsn", "host=nowhere"}, {"-nonsense"}} {
		var said bytes.Buffer
		if code := run(args, &said, &said); code != 2 || said.Len() == 0 {
			t.Errorf("%q: exit code %d, said %q", args, code, said.String())
		}
	}
}
