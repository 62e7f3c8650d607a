package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/human"
)

const (
	// pgbenchRows is what pgbench makes of accounts for each unit of its scale.
	pgbenchRows = 100_000
	// pgbenchRate is how many transactions a second the application carries out: each updates three rows, inserts one and
	// reads one, so that there are a thousand writes a second.
	pgbenchRate    = 250
	pgbenchClients = 4
	// idleFor is how long the application is watched while nothing else is at work, settle how long it runs before it is
	// watched, and after the work has ended.
	idleFor     = 15 * time.Second
	idleLeast   = 500 * time.Millisecond
	settle      = 2 * time.Second
	smokeSettle = 200 * time.Millisecond
	// pgbenchMost bounds how long pgbench runs: it is ended when the work is done.
	pgbenchMost = 10 * time.Minute

	idle = "nothing else"
	// loadName is the application_name of pgbench's sessions.
	loadName = "pgbackfill bench load"
	fillJob  = "name: " + jobName + "\ntable: " + schema + ".pgbench_accounts\nupdate: {set: {filler2: \"md5(t.aid || '/' || t.bid)\"}}\n"
)

// filling is the work that is done beside the application.
var filling = change{table: "pgbench_accounts", key: "aid", keyType: "int", first: "0", set: "filler2 = md5(t.aid || '/' || t.bid)", scope: "true"}

// disturbance is what a way of changing a table does to the transactions of an application, in milliseconds from the
// moment at which they should have begun.
type disturbance struct {
	Name string `json:"name"`
	How  string `json:"how"`
	// Seconds is how long the work took, Transactions how many were carried out meanwhile: medians, as P50 and P99 are.
	// Worst is that of all rounds.
	Seconds      float64 `json:"seconds"`
	Transactions int64   `json:"transactions"`
	P50          float64 `json:"p50_ms"`
	P99          float64 `json:"p99_ms"`
	Worst        float64 `json:"worst_ms"`
}

// work is something that is done while the application is watched.
type work struct {
	name, how string
	run       func(context.Context, *workshop) error
}

func works() []work {
	return []work{
		{idle, "the application alone", func(ctx context.Context, b *workshop) error {
			return sleep(ctx, max(idleLeast, min(idleFor, time.Duration(b.tableRows)*idleFor/1_000_000)))
		}},
		{engine2, "the program, defaults (two workers)", func(ctx context.Context, b *workshop) error {
			_, err := b.runJob(ctx, fillJob)
			return err
		}},
		{engine1, "as above with `--workers 1`: on a machine of two cores it leaves one to the application", func(ctx context.Context, b *workshop) error {
			_, err := b.runJob(ctx, fillJob, "--workers", "1")
			return err
		}},
		{single, "`" + filling.update() + "`", func(ctx context.Context, b *workshop) error { return b.exec(ctx, filling.update()) }},
		{script, "as above", func(ctx context.Context, b *workshop) error { return filling.loop(ctx, b) }},
		{plpgsql, "as above", func(ctx context.Context, b *workshop) error { return b.exec(ctx, filling.block()) }},
	}
}

// foreground measures what an application notices: its transactions while nothing else is at work, while pgbackfill is,
// and while others do the same.
func foreground(ctx context.Context, b *workshop, rounds int, keep func(*result) error) error {
	b.table, b.tableRows = table{name: "pgbench"}, b.sized(2_000_000)
	if err := b.configure(ctx, b.table, b.tableRows); err != nil {
		return err
	}
	r := &result{Part: "foreground", Machine: b.describe(ctx), Command: b.command, Rows: b.tableRows, Seed: b.seed, Rounds: rounds, Missing: b.missing()}
	pgbench, err := b.findPgbench()
	if err != nil {
		r.Missing = append(r.Missing, err.Error())
		return keep(r)
	}
	if b.ssl, err = b.sslMode(ctx); err != nil {
		return err
	}
	list := slices.DeleteFunc(works(), func(w work) bool { return w.name != idle && !strings.Contains(w.name, b.way) })
	measured := make([][]disturbance, len(list))
	for round := range rounds {
		for i := range list {
			at := (i + round) % len(list)
			d, err := b.watch(ctx, pgbench, list[at])
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", list[at].name, round+1, err)
			}
			fmt.Fprintf(b.progress, "foreground, round %d of %d: %s: %.1f s, p50 %.1f ms, p99 %.1f ms, worst %.0f ms\n", round+1, rounds, d.Name, d.Seconds, d.P50, d.P99, d.Worst)
			measured[at] = append(measured[at], d)
		}
	}
	for i, all := range measured {
		d := disturbance{Name: list[i].name, How: list[i].how}
		var seconds, p50, p99 []float64
		var transactions []int64
		for _, m := range all {
			seconds, p50, p99, transactions = append(seconds, m.Seconds), append(p50, m.P50), append(p99, m.P99), append(transactions, m.Transactions)
			d.Worst = max(d.Worst, m.Worst)
		}
		d.Seconds, d.P50, d.P99, d.Transactions = median(seconds), median(p50), median(p99), median(transactions)
		r.Foreground = append(r.Foreground, d)
	}
	return keep(r)
}

// findPgbench is where pgbench is: beside our own server, or where the user has it.
func (b *workshop) findPgbench() (string, error) {
	if b.cluster != nil {
		return b.cluster.Installation().Program("pgbench")
	}
	path, err := exec.LookPath("pgbench")
	if err != nil {
		return "", errors.New("what the application notices: there is no pgbench here")
	}
	return path, nil
}

// watch does a work on a fresh database of pgbench while pgbench runs, and then looks whether it did what it should.
func (b *workshop) watch(ctx context.Context, pgbench string, w work) (disturbance, error) {
	d := disturbance{Name: w.name}
	scale := strconv.Itoa(max(1, b.tableRows/pgbenchRows))
	if err := b.forget(ctx); err != nil {
		return d, err
	}
	if said, err := b.pgbench(ctx, pgbench, "-i", "-q", "-s", scale, "-I", "dtgp").CombinedOutput(); err != nil {
		return d, fmt.Errorf("pgbench -i: %w\n%s", err, said)
	}
	err := b.exec(ctx, "ALTER TABLE pgbench_accounts ADD COLUMN filler2 text", "VACUUM ANALYZE pgbench_accounts, pgbench_branches, pgbench_tellers, pgbench_history")
	if err != nil {
		return d, err
	}
	if err := b.checkpoint(ctx); err != nil {
		return d, err
	}
	if err := b.awaitQuiet(ctx); err != nil {
		return d, err
	}
	logs, err := os.MkdirTemp(b.dir, "pgbench-")
	if err != nil {
		return d, err
	}
	app := b.pgbench(ctx, pgbench, "-n", "-c", strconv.Itoa(pgbenchClients), "-R", strconv.Itoa(pgbenchRate), "-T", strconv.Itoa(int(pgbenchMost.Seconds())),
		"-l", "--log-prefix="+filepath.Join(logs, "app"))
	var said bytes.Buffer
	app.Stdout, app.Stderr = &said, &said
	if err := app.Start(); err != nil {
		return d, err
	}
	from, to, err := b.between(ctx, w)
	// Its sessions are ended, not itself: it then writes its log to the end.
	err = errors.Join(err, b.exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '"+loadName+"'"))
	if err != nil {
		_ = app.Process.Kill() // it has nothing to say any more
	}
	_ = app.Wait() // it complains of its sessions
	if err != nil {
		return d, err
	}
	times, err := latencies(logs, from, to)
	if err != nil || len(times) == 0 {
		return d, fmt.Errorf("pgbench carried out nothing (%w); it said:\n%s", err, said.String())
	}
	d.Seconds, d.Transactions = to.Sub(from).Seconds(), int64(len(times))
	d.P50, d.P99, d.Worst = quantile(times, 0.5), quantile(times, 0.99), times[len(times)-1]
	return d, b.filled(ctx, w)
}

// between does the work and says when it began and ended.
func (b *workshop) between(ctx context.Context, w work) (from, to time.Time, err error) {
	settle := settle
	if b.smoke {
		settle = smokeSettle
	}
	if err = sleep(ctx, settle); err != nil {
		return from, to, err
	}
	from = time.Now()
	err = w.run(ctx, b)
	to = time.Now()
	return from, to, errors.Join(err, sleep(ctx, settle))
}

// filled compares what the work left with what it should have.
func (b *workshop) filled(ctx context.Context, w work) error {
	if w.name == idle {
		return nil
	}
	var wrong int64
	err := b.conn.QueryRow(ctx, "SELECT count(*) FROM pgbench_accounts WHERE filler2 IS DISTINCT FROM md5(aid || '/' || bid)").Scan(&wrong)
	if err == nil && wrong > 0 {
		err = fmt.Errorf("%w: %s do not hold what they should", errData, human.Plural(wrong, "row"))
	}
	return err
}

func (b *workshop) pgbench(ctx context.Context, program string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, program, args...)
	to := b.conn.Config()
	c.Env = []string{
		"PATH=" + os.Getenv("PATH"), "PGHOST=" + to.Host, "PGPORT=" + strconv.Itoa(int(to.Port)), "PGUSER=" + to.User, "PGPASSWORD=" + to.Password,
		"PGDATABASE=" + to.Database, "PGSSLMODE=" + b.ssl, "PGAPPNAME=" + loadName, "PGOPTIONS=-c search_path=" + schema, "LC_ALL=C",
	}
	return c
}

// latencies are, in order and in milliseconds, those of the transactions that were at work within a time. pgbench writes a
// line for each: client, number, microseconds since it should have begun, script, and when it was done, in seconds and
// microseconds.
func latencies(dir string, from, to time.Time) ([]float64, error) {
	files, err := filepath.Glob(filepath.Join(dir, "app.*"))
	if err != nil {
		return nil, err
	}
	var list []float64
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		lines := bufio.NewScanner(bytes.NewReader(text))
		for lines.Scan() {
			fields := strings.Fields(lines.Text())
			if len(fields) < 6 || fields[2] == "failed" || fields[2] == "skipped" {
				continue
			}
			var n [3]int64
			for i, at := range []int{2, 4, 5} {
				if n[i], err = strconv.ParseInt(fields[at], 10, 64); err != nil {
					return nil, fmt.Errorf("%s: %q is no line of pgbench's log: %w", path, lines.Text(), err)
				}
			}
			took, done := time.Duration(n[0])*time.Microsecond, time.Unix(n[1], n[2]*1000)
			if done.After(from) && done.Add(-took).Before(to) {
				list = append(list, float64(n[0])/1000)
			}
		}
	}
	slices.Sort(list)
	return list, nil
}

// quantile is the smallest of a sorted list that so great a part of it does not exceed.
func quantile(sorted []float64, part float64) float64 {
	return sorted[min(len(sorted)-1, max(0, int(math.Ceil(part*float64(len(sorted))))-1))]
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func foregroundGrid(list []disturbance) grid {
	g := grid{{"at work beside the application", "seconds", "transactions", "p50", "p99", "worst"}}
	for _, d := range list {
		g = append(g, []string{
			d.Name, fmt.Sprintf("%.1f", d.Seconds), human.Count(d.Transactions), fmt.Sprintf("%.1f ms", d.P50), fmt.Sprintf("%.1f ms", d.P99), fmt.Sprintf("%.0f ms", d.Worst),
		})
	}
	return g
}
