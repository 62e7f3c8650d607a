package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

var metricsAt = regexp.MustCompile(`metrics are at (http://\S+/metrics)`)

// scrape is what a process shows, by name and labels; "" is where it says that its metrics are.
func scrape(t *testing.T, p *process) (map[string]float64, error) {
	t.Helper()
	found := metricsAt.FindStringSubmatch(p.out.String())
	if found == nil {
		return nil, fmt.Errorf("it does not say where its metrics are:\n%s", p.out)
	}
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(found[1])
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s, %w:\n%s", answer.Status, err, text)
	}
	all := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		name, number, _ := strings.Cut(strings.TrimSpace(line), "} ")
		if strings.HasPrefix(line, "#") || number == "" {
			continue
		}
		if all[name+"}"], err = strconv.ParseFloat(number, 64); err != nil {
			t.Errorf("%q is no number", line)
		}
	}
	return all, nil
}

// A run at work is scraped over HTTP, and says what it does, what it is kept by, and that it is paused. The port is free
// when it ends.
//
// Made to fail: with the observer, and with the throttle, not handed to the metrics.
func TestRunIsScraped(t *testing.T) {
	t.Parallel()
	db, dir, p := crawl(t, "--metrics", "127.0.0.1:0")
	// each holds each of the samples against a value that it should come to have.
	await := func(least bool, want map[string]float64) map[string]float64 {
		t.Helper()
		var all map[string]float64
		pgtest.Eventually(t, time.Minute, func() error {
			if p.ended() {
				t.Fatalf("the run ended:\n%s", p.out)
			}
			var err error
			if all, err = scrape(t, p); err != nil {
				return err
			}
			for name, v := range want {
				if got, there := all["pgbackfill_"+name]; !there || got < v || !least && got != v {
					return fmt.Errorf("%s is %v (%t), waiting for %v", name, got, there, v)
				}
			}
			return nil
		})
		return all
	}
	job := `command="run",job_name="slow"`
	await(true, map[string]float64{
		"chunks_total{" + job + "}": 3, "rows_walked_total{" + job + `,pass="walk"}`: 150, "rows_changed_total{" + job + `,pass="walk"}`: 150,
		"chunk_duration_seconds_count{" + job + "}": 3, "rows_per_second{" + job + "}": 1, "eta_seconds{" + job + "}": 1, "workers_busy{" + job + "}": 1,
		`throttle_wait_seconds_total{by="rate"}`: 0.001,
	})
	all := await(false, map[string]float64{
		"run_state{" + job + `,state="running"}`: 1, "waiting{" + job + "}": 0, `gate_shut{signal="replica_lag"}`: 0, "workers_wanted{" + job + "}": 2,
		`signal_status{class="gate",signal="blocked_sessions",status="fine"}`: 1, `signal_status{class="gate",signal="replica_lag",status="off"}`: 1,
	})
	if n, stored := all["pgbackfill_chunks_total{"+job+"}"], ledgered(db); n > float64(stored) {
		t.Errorf("%v chunks are counted, and %d in the ledger", n, stored)
	}
	must(t, db.DSN(), dir, "pause", "slow", "--why", "a look")
	await(false, map[string]float64{"run_state{" + job + `,state="paused"}`: 1, "waiting{" + job + "}": 1, "rows_per_second{" + job + "}": 0})
	must(t, db.DSN(), dir, "set", "slow", "workers=1")
	await(false, map[string]float64{"workers_wanted{" + job + "}": 1})
	p.signal(t, syscall.SIGTERM)
	if code := p.wait(t, time.Minute); code != 130 {
		t.Errorf("exit code %d", code)
	}
	if _, err := scrape(t, p); err == nil {
		t.Error("it has ended, and can be scraped")
	}
}

// A port that is taken is said before anything is read or written, wherever the address stands.
//
// Made to fail: with the server started beside the work, a run is made all the same.
func TestMetricsPortThatIsTaken(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	people(t, db)
	before := untouched(db)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	write(t, dir, "job.yaml", peopleJob)
	for _, command := range []string{"run", "undo", "verify", "repair", "retry-quarantined"} {
		refuses(t, db, dir, 2, []string{command, "--yes", "job.yaml", "--metrics", address}, "metrics "+address+": nothing can listen there", "address already in use", "--metrics :9188", "--metrics off")
	}
	write(t, dir, "pgbackfill.yaml", "metrics: "+address+"\n")
	refuses(t, db, dir, 2, []string{"run", "--yes", "job.yaml"}, "metrics "+address+": nothing can listen there")
	refuses(t, db, dir, 2, []string{"run", "--yes", "job.yaml", "--metrics", "9187"}, `--metrics: metrics is "9187"; expected an address to listen at: :9187`)
	if after := untouched(db); after != before {
		t.Errorf("something was written: %s, before: %s", after, before)
	}
	must(t, db.DSN(), dir, "plan", "job.yaml") // what only looks needs no port
	must(t, db.DSN(), dir, "run", "--yes", "job.yaml", "--metrics", "off")
	out := must(t, db.DSN(), dir, "verify", "job.yaml", "--metrics", ":0")
	says(t, out, "metrics are at http://localhost:")
}
