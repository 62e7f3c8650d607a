package main

import (
	"context"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// traffic is an application that writes both columns, as it should while a backfill runs.
type traffic struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu    sync.Mutex
	worst time.Duration
	count writes
}

// writes counts what the application did.
type writes struct {
	done, failed int64
	err          error
}

// trafficWriters is how many sessions the application has, trafficPause what each waits
// between two writes.
const (
	trafficWriters = 2
	trafficPause   = 5 * time.Millisecond
)

func startTraffic(ctx context.Context, dsn string, rows int) (*traffic, error) {
	ctx, cancel := context.WithCancel(ctx)
	t := &traffic{cancel: cancel}
	for range trafficWriters {
		conn, err := connectTo(ctx, dsn)
		if err != nil {
			t.stop()
			return nil, err
		}
		t.done.Add(1)
		go func() {
			defer t.done.Done()
			defer conn.Close(context.WithoutCancel(ctx))
			t.write(ctx, conn, rows)
		}()
	}
	return t, nil
}

func (t *traffic) write(ctx context.Context, conn *pgx.Conn, rows int) {
	statements := []string{
		"UPDATE users SET full_name = 'grace hopper the ' || $1::bigint, display_name = initcap('grace hopper the ' || $1::bigint) WHERE id = $1::bigint",
		"INSERT INTO users (full_name, email, display_name) VALUES ('edsger dijkstra the ' || $1::bigint, '', initcap('edsger dijkstra the ' || $1::bigint))",
		"UPDATE users SET note = 'seen ' || $1::bigint WHERE id = $1::bigint",
		"DELETE FROM users WHERE id = $1::bigint AND id % 7 = 0",
	}
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(trafficPause):
		}
		began := time.Now()
		_, err := conn.Exec(context.WithoutCancel(ctx), statements[n%len(statements)], rand.N(rows)+1)
		t.saw(time.Since(began), err)
	}
}

func (t *traffic) saw(took time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.worst = max(t.worst, took)
	t.count.done++
	if err != nil {
		t.count.failed++
		t.count.err = err
	}
}

// stop ends the traffic and says what it came to.
func (t *traffic) stop() (writes, time.Duration) {
	t.cancel()
	t.done.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count, t.worst
}

// indented writes each line five columns in.
type indented struct{ w io.Writer }

func (i indented) Write(p []byte) (int, error) {
	_, err := io.WriteString(i.w, indent(string(p), "     ")+"\n")
	return len(p), err
}

// head is the first lines of a text.
func head(text string, lines int) string {
	all := strings.SplitAfter(text, "\n")
	return strings.Join(all[:min(lines, len(all))], "")
}
