package main

import (
	"github.com/spf13/cobra"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/configs"
	"github.com/pgbackfill/pgbackfill/internal/metrics"
)

// measured gives a command --metrics: what it does can be scraped for as long as it is at work. An address that cannot be
// had ends it before anything is read or written.
func (a *app) measured(c *cobra.Command) *cobra.Command {
	configs.MetricsFlag(c.Flags())
	work := c.RunE
	c.RunE = func(c *cobra.Command, given []string) error {
		if a.cfg.Metrics == "" {
			return work(c, given)
		}
		m := metrics.New(a.version)
		server, err := metrics.Serve(a.cfg.Metrics, m)
		if err != nil {
			return err
		}
		defer server.Close()
		a.metrics = m
		a.note("note", "metrics are at "+server.URL())
		return work(c, given)
	}
	return c
}

// measure begins a job's part of the metrics, and is the observer that keeps it; nil where nobody wants them.
func (a *app) measure(job metrics.Job) backfill.Observer {
	if a.metrics == nil {
		return nil
	}
	return a.metrics.Begin(job).Observe
}
