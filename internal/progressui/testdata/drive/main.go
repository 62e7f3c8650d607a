// Command drive shows the live display over a run that is made up, to be looked at:
//
//	go run ./internal/progressui/testdata/drive -seconds 20
package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/eventlog"
	"github.com/pgbackfill/pgbackfill/internal/progressui"
)

func main() {
	seconds := flag.Int("seconds", 20, "how long it takes")
	workers := flag.Int("workers", 4, "how many workers")
	flag.Parse()
	display := progressui.Start(os.Stderr)
	log, err := eventlog.New(display.Writer(), "console", "info")
	if err != nil {
		panic(err)
	}
	observe := backfill.Tee(display.Observe, eventlog.Observer(log))
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	begun := time.Now()
	summary, err := work(observe, *workers, time.Duration(*seconds)*time.Second, stop)
	summary.Elapsed = time.Since(begun)
	observe(backfill.RunEnded{Summary: summary, Err: err})
	display.Close()
	fmt.Fprintln(display.Writer(), "a log line after the display")
	progressui.Summary(os.Stdout, summary, err, "pgbackfill verify users-display-name.yaml")
}

// work makes up a run.
func work(observe backfill.Observer, workers int, d time.Duration, stop <-chan os.Signal) (backfill.Summary, error) {
	const rows = 9800
	total := int64(float64(workers) * rows * d.Seconds() * 9)
	s := backfill.Summary{Run: 12, Job: "users-display-name", State: backfill.StateRunning}
	observe(backfill.RunStarted{Run: s.Run, Job: s.Job, Process: "drive", EstimatedRows: total})
	observe(backfill.PassStarted{Pass: backfill.PassWalk, Segments: 8 * workers})
	end := time.After(d)
	done := make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	for id := 1; id <= workers; id++ {
		wg.Go(func() {
			observe(backfill.SegmentStarted{Worker: id, Segment: backfill.Segment{No: 10 + id}})
			for seq := 1; ; seq++ {
				took := time.Duration(80+rand.IntN(50)) * time.Millisecond
				select {
				case <-done:
					return
				case <-time.After(took):
				}
				c := backfill.Chunk{Segment: 10 + id, Seq: seq, RowsSeen: rows, RowsChanged: []int64{rows - 3}, Duration: took, Attempt: 1}
				if id == 3 && seq%30 == 0 {
					observe(backfill.ChunkFailed{Worker: id, Chunk: c, Err: errors.New("canceling statement due to lock timeout"), Retry: true, Backoff: 3 * time.Second})
					observe(backfill.Waiting{Worker: id, Reason: "SQLSTATE 55P03 (lock_not_available): canceling statement due to lock timeout"})
					select {
					case <-done:
						return
					case <-time.After(3 * time.Second):
					}
					observe(backfill.Waiting{Worker: id})
				}
				mu.Lock()
				s.Chunks++
				s.RowsSeen += rows
				s.RowsChanged += rows - 3
				mu.Unlock()
				observe(backfill.ChunkCommitted{Worker: id, Chunk: c, Pass: backfill.PassWalk, NextRows: rows})
			}
		})
	}
	var err error
	half := time.After(d / 2)
	for going := true; going; {
		select {
		case <-half:
			observe(backfill.Waiting{Reason: "replica_lag 12.4s > 10s (standby eu-2)"})
			time.AfterFunc(d/8, func() { observe(backfill.Waiting{}) })
		case <-end:
			s.State, going = backfill.StateFinished, false
		case <-stop:
			err, going = &backfill.Error{Place: "run 12", Found: "stopped between two chunks; what is committed stays", Remedy: "run it again to go on", Kind: backfill.ErrInterrupted}, false
		}
	}
	close(done)
	wg.Wait()
	return s, err
}
