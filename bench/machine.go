package main

import (
	"bufio"
	"context"
	"os"
	"runtime"
	"strings"
	"time"
)

// machine is where and on what something was measured. CPU, cores and memory are those of the machine that the benchmark ran on.
type machine struct {
	Date string `json:"date"`
	// Elsewhere is set where the server is not one that the benchmark has started: it may be on another machine.
	Elsewhere  bool   `json:"elsewhere,omitempty"`
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	Memory     string `json:"memory"`
	System     string `json:"system"`
	Go         string `json:"go"`
	PostgreSQL string `json:"postgresql"`
	Locale     string `json:"locale"`
	// Settings are those of the server that matter.
	Settings map[string]string `json:"settings"`
	// Load is the machine's load average when the measurements began: more than 0 means that something else was at work.
	Load string `json:"load,omitempty"`
}

var settingNames = []string{"shared_buffers", "checkpoint_timeout", "fsync", "synchronous_commit", "full_page_writes", "wal_level", "autovacuum", "max_wal_size"}

func (b *workshop) describe(ctx context.Context) machine {
	m := machine{
		Date: time.Now().UTC().Format("2006-01-02 15:04 MST"), CPU: labelled("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(),
		Memory: labelled("/proc/meminfo", "MemTotal"), System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(),
		Elsewhere: b.cluster == nil, Settings: map[string]string{},
	}
	// What cannot be asked is left empty.
	_ = b.conn.QueryRow(ctx, "SELECT current_setting('server_version'), datcollate FROM pg_database WHERE datname = current_database()").Scan(&m.PostgreSQL, &m.Locale)
	for _, name := range settingNames {
		var value string
		if err := b.conn.QueryRow(ctx, "SELECT current_setting($1)", name).Scan(&value); err == nil {
			m.Settings[name] = value
		}
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load, _, _ = strings.Cut(string(text), " ")
	}
	return m
}

// labelled is the value of the first "label : value" in a file; "unknown" where there is none.
func labelled(path, label string) string {
	f, err := os.Open(path)
	if err != nil {
		return "unknown"
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, value, found := strings.Cut(lines.Text(), ":")
		if found && strings.TrimSpace(name) == label {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}
