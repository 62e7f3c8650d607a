package metrics

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// namespace begins every name.
const namespace = "pgbackfill"

// kind is what Prometheus calls the type of a metric.
type kind string

const (
	counter   kind = "counter"
	gauge     kind = "gauge"
	histogram kind = "histogram"
)

// family is one metric: its name, what it says, and the labels by which there are several of it.
type family struct {
	name   string
	kind   kind
	help   string
	labels []string
	desc   *prometheus.Desc
}

// Labels of what is about a job. "job" itself is what Prometheus calls a scraped service by.
var perJob = []string{"job_name", "command"}

func define(k kind, name, help string, labels ...string) *family {
	f := &family{name: prometheus.BuildFQName(namespace, "", name), kind: k, help: help, labels: labels}
	f.desc = prometheus.NewDesc(f.name, f.help, f.labels, nil)
	return f
}

func ofJob(k kind, name, help string, more ...string) *family {
	return define(k, name, help, slices.Concat(perJob, more)...)
}

// What there is, in the order in which it is documented.
var (
	buildInfo = define(gauge, "build_info", "1; the labels say what is at work.", "version", "goversion")

	runInfo = ofJob(gauge, "run_info", "1; the labels say which run of the job this process is at, and what the run calls the process. A verification of a job that was never run has no run.", "run", "process")
	state   = ofJob(gauge, "run_state", "1 for the state that the run is in, 0 for the others: "+strings.Join(stateNames(), ", ")+". Of run and undo only.", "state")
	walked  = ofJob(counter, "rows_walked_total", "Rows walked by this process, in scope or not, by pass: walk, tail, sweep. The sweep meets the same rows once more. A verification walks the table once for each check.", "pass")
	changed = ofJob(counter, "rows_changed_total", "Rows changed by this process in every table that the job writes, by pass.", "pass")
	chunks  = ofJob(counter, "chunks_total", "Chunks committed by this process.")
	seconds = ofJob(histogram, "chunk_duration_seconds", "Time that a chunk took, from its begin until its commit was sent; of a verification, the time of reading it.")
	retries = ofJob(counter, "chunk_retries_total", "Chunks that were rolled back and are tried again, by cause: retry (a lock, a deadlock, a lost connection, a failover), shrink (it took too long), data (rows that cannot be changed), resource (disk or memory of the server), other.", "cause")
	yields  = ofJob(counter, "chunk_yields_total", "Chunks that were cancelled since somebody waited for their locks; they are tried again smaller.")
	again   = ofJob(counter, "reconnections_total", "Connections of workers that were lost and made again.")
	aside   = ofJob(gauge, "quarantined_rows", "Rows of the run that are set aside since they cannot be changed, over all processes as far as this one knows.")
	size    = ofJob(gauge, "chunk_rows", "Rows of the chunks to come. Absent before the first one is committed.")
	rate    = ofJob(gauge, "rows_per_second", "Pace of this process over its last ten seconds at work; 0 while nothing is written.")
	guess   = ofJob(gauge, "estimated_rows", "Rows that the pass is thought to have, by the server's statistics.")
	done    = ofJob(gauge, "progress_ratio", "How much of the pass is done, over all processes, from 0 to 1; 1 only where the run is finished.")
	eta     = ofJob(gauge, "eta_seconds", "Time that the rest of the pass takes at the pace of this process's last minute at work. Absent where nobody can know.")
	last    = ofJob(gauge, "last_chunk_timestamp_seconds", "When this process's latest chunk was committed, in seconds since 1970. Absent before the first one.")
	wanted  = ofJob(gauge, "workers_wanted", "How many workers there should be, as the zones, a limit or somebody has it.")
	busy    = ofJob(gauge, "workers_busy", "How many workers hold a segment.")
	waits   = ofJob(gauge, "waiting", "1 while nothing is written: the gate is shut, the run is paused, or something is done that has no chunks. The reason stands in status and the log.")

	kept = define(counter, "throttle_wait_seconds_total", "Time that workers were kept waiting before a chunk, each counted for itself, by what kept them: gate, replicas (the pace that holds their lag), rate (the limit of rows a second).", "by")

	shut   = define(gauge, "gate_shut", "1 where the signal keeps the gate shut, so that no chunk begins; why is in signal_status. Signals that only scale are not here.", "signal")
	status = define(gauge, "signal_status", "1 for the status that the signal is in, 0 for the others: "+strings.Join(statusNames(), ", ")+". A gate is shut where it is unread, over or stale. Class is gate or gradual.", "signal", "class", "status")
	used   = define(gauge, "signal_utilization_ratio", "How much of the signal's limit is used: 1 is all of it. Absent where nothing is measured or the answer is yes or no.", "signal", "class")
	age    = define(gauge, "signal_reading_age_seconds", "Age of the latest reading that did not fail. Absent before the first one.", "signal", "class")

	lag       = define(gauge, "replica_lag_seconds", "How far the standby is behind, in time, by our own samples of the primary's log. Where the standby is gone, or is behind since before it was first looked at, it is at least so much.", "standby")
	lagBytes  = define(gauge, "replica_lag_bytes", "How far the standby is behind, in bytes of the write-ahead log.", "standby")
	connected = define(gauge, "replica_connected", "1 where the standby is connected, 0 from when it is missed until it is forgotten (lag.grace).", "standby")
	counted   = define(gauge, "replica_counted", "1 where the standby's lag counts, 0 where it is in lag.ignore.", "standby")
	mostLag   = define(gauge, "replica_lag_limit_seconds", "lag.max. Absent where it is off.")
	mostBytes = define(gauge, "replica_lag_limit_bytes", "lag.max_bytes. Absent where it is off.")

	perRow = define(gauge, "wal_row_bytes", "What a row makes of the write-ahead log, as learned from the latest chunks; a guess before the first one.")
	let    = define(gauge, "wal_limit_bytes_per_second", "Write-ahead log that is let through for the standbys' sake. Absent where there is no bound.")
	replay = define(gauge, "replica_replay_bytes_per_second", "What the worst standby is taken to be able to replay. Absent where nothing is known of one.")
)

// families are all of them.
var families = []*family{
	buildInfo,
	runInfo, state, walked, changed, chunks, seconds, retries, yields, again, aside, size, rate, guess, done, eta, last, wanted, busy, waits,
	kept, shut, status, used, age,
	lag, lagBytes, connected, counted, mostLag, mostBytes, perRow, let, replay,
}

// buckets are those of a chunk's time, around its target of 100 ms.
var buckets = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30}

// emit makes a sample of a family that is a counter or a gauge.
func (f *family) emit(to chan<- prometheus.Metric, v float64, labels ...string) {
	t := prometheus.GaugeValue
	if f.kind == counter {
		t = prometheus.CounterValue
	}
	to <- prometheus.MustNewConstMetric(f.desc, t, v, labels...)
}
