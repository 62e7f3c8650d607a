package backfill

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pgbackfill/pgbackfill/internal/pgerr"
)

// goOver works until every segment of a pass is closed. empty is set where it is known to have none.
func (e *engine) goOver(ctx context.Context, pass Pass, empty bool) error {
	e.sizerNow.Store(e.newSizer(pass.Sweeps()))
	e.closing.Store(pass.Sweeps())
	var list []SegmentState
	err := e.steadily(ctx, func(ctx context.Context) (err error) {
		if !empty {
			list, err = e.segments.List(ctx, pass)
		}
		if len(list) == 0 && err == nil { // no worker asks whether the run is to stand still
			err = e.mayWork(ctx, 0)
		}
		return err
	})
	if err != nil {
		return err
	}
	e.queue = newQueue(pass, list)
	e.observe(PassStarted{Pass: pass, Segments: len(list)})
	e.synced(list)
	if len(list) == 0 {
		return nil
	}

	g, working := errgroup.WithContext(ctx)
	c := &crew{running: map[int]bool{}, gone: make(chan struct{})}
	staff := func() {
		for _, id := range c.missing(e.workers()) {
			g.Go(func() error {
				defer c.leave(id)
				return e.workerLoop(working, id)
			})
		}
	}
	staff()
	g.Go(func() error { return e.mind(working, c.gone, staff) })
	return g.Wait()
}

// crew is the workers of a pass. Once the last one is gone nobody comes any more.
type crew struct {
	mu      sync.Mutex
	running map[int]bool
	// gone is closed when the last worker has left.
	gone chan struct{}
	over bool
}

// missing takes on those of the first workers who are not there, and returns their numbers.
func (c *crew) missing(workers int) []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []int
	for id := 1; id <= workers && !c.over; id++ {
		if !c.running[id] {
			c.running[id] = true
			list = append(list, id)
		}
	}
	return list
}

func (c *crew) leave(id int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if delete(c.running, id); len(c.running) == 0 {
		c.over = true
		close(c.gone)
	}
}

// workerLoop is one worker's life in a pass: a segment at a time.
func (e *engine) workerLoop(ctx context.Context, id int) error {
	w := &worker{engine: e, id: id, conn: e.spareConn()}
	defer w.leave(ctx)
	defer w.endProgram()
	e.count(&e.active, 1)
	defer e.count(&e.active, -1)
	for {
		seg, err := w.take(ctx)
		if err == nil {
			var mark Mark
			e.observe(SegmentStarted{Worker: id, Segment: seg.Segment, Mark: seg.Mark})
			mark, err = w.segment(ctx, seg.Segment)
			e.release(seg.No, mark, err)
			e.observe(SegmentEnded{Worker: id, Segment: seg.Segment, Mark: mark})
		}
		switch {
		case err == nil || errors.Is(err, errContested):
		case errors.Is(err, errPassDone), errors.Is(err, errSurplus):
			return nil
		default:
			return err
		}
	}
}

// mind keeps the heartbeat, hears orders and staffs the pass until its workers are gone.
func (e *engine) mind(ctx context.Context, done <-chan struct{}, staff func()) error {
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	silent := false
	for {
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			<-done
			return nil
		case <-ticker.C:
		}
		err := e.beat(ctx)
		if err == nil {
			err = e.obey(ctx)
		}
		if err == nil {
			if err := e.unseen(); err != nil {
				return err
			}
		}
		switch {
		case err == nil:
			if silent {
				silent = false
				e.waits("ledger", "")
			}
			e.scaled()
			staff()
		case ctx.Err() != nil:
		case pgerr.Class(err) == pgerr.Fatal:
			return fmt.Errorf("keeping the run's heartbeat: %w", err)
		default:
			silent = true
			e.waits("ledger", "the ledger cannot be reached: "+pgerr.Describe(err))
		}
	}
}
