package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/internal/pgtest/proxy"
)

// cutter cuts the connections of workers inside of the exchange of a chunk, at one byte after another of what either side sends.
type cutter struct {
	mu sync.Mutex
	// working are the connections that change rows: from their next BEGIN on their exchanges are known.
	working map[uint64]bool
	// exchanges are the chunks that are being done, by connection.
	exchanges map[uint64]*chunkExchange
	// length is how long the longest exchange was that was measured, of each side; 0 is that none was yet.
	length [2]int
	// cuts are where is still to be cut, by side.
	cuts [2][]int
	done int
}

// chunkExchange is what is said about one chunk: from its BEGIN to the second time that the server is ready.
type chunkExchange struct {
	// sent is how many bytes each side has sent, and ready how often the server was ready.
	sent  [2]int
	ready int
	// armed is set where it is to be cut, at a byte of what a side sends.
	armed bool
	side  proxy.Side
	byte  int
}

func (c *cutter) hook(m proxy.Message) proxy.Verdict {
	c.mu.Lock()
	defer c.mu.Unlock()
	sql := m.SQL()
	if strings.HasPrefix(sql, "UPDATE") && strings.Contains(sql, "counter") {
		c.working[m.Conn] = true
	}
	x := c.exchanges[m.Conn]
	if x == nil {
		if !c.working[m.Conn] || !strings.HasPrefix(sql, "BEGIN") {
			return proxy.Forward
		}
		x = c.begin(m.Conn)
	}
	before := x.sent[m.From]
	x.sent[m.From] += len(m.Payload) + 5
	if x.armed && x.side == m.From && x.byte < x.sent[m.From] {
		delete(c.exchanges, m.Conn)
		c.done++
		return proxy.CutAfter(x.byte - before)
	}
	if m.From == proxy.Backend && m.Type == 'Z' {
		if x.ready++; x.ready == 2 {
			delete(c.exchanges, m.Conn)
			switch {
			case x.armed: // this one was shorter
				c.done++
			case x.sent[proxy.Frontend] > c.length[proxy.Frontend]:
				c.length = x.sent
			}
		}
	}
	return proxy.Forward
}

// begin follows the exchange of a chunk, and has it cut at the next byte of the list. The first ones are measured.
func (c *cutter) begin(conn uint64) *chunkExchange {
	x := &chunkExchange{}
	c.exchanges[conn] = x
	for side, list := range c.cuts {
		if len(list) > 0 {
			x.armed, x.side, x.byte = true, proxy.Side(side), list[0]
			c.cuts[side] = list[1:]
			break
		}
	}
	return x
}

func (c *cutter) left() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.cuts[0]) + len(c.cuts[1])
}

// The connection is cut inside of a chunk's exchange, at every byte of what either side sends in the longest tier, else at bytes that the
// seed chooses: every row is changed once.
//
// Made to fail: with a lost connection taken for what never passes, at the first cut.
func TestChaosAtEveryByte(t *testing.T) {
	t.Parallel()
	seed := firstSeed(t)
	const name = "chunk cut at a byte"
	scenario(t, name, func(t *testing.T) {
		rows := 8000
		if os.Getenv(long) != "" {
			rows = 80_000
		}
		w := newWorld(t, worldOptions{name: name, seed: seed, rows: rows, rate: 100_000, quiet: true, chunk: 4})
		c := &cutter{working: map[uint64]bool{}, exchanges: map[uint64]*chunkExchange{}}
		w.links[0].Hook(c.hook)
		must(t, w.direct(), w.dir, "schema", "install")
		w.start()
		w.awaits(5, "the measured chunks")
		c.mu.Lock()
		random := rand.New(rand.NewPCG(seed, 9))
		for side := range c.cuts {
			for b := range c.length[side] {
				if os.Getenv(long) != "" || random.IntN(c.length[side]) < 60 {
					c.cuts[side] = append(c.cuts[side], b)
				}
			}
		}
		total := len(c.cuts[0]) + len(c.cuts[1])
		t.Logf("the exchange of a chunk is of %d bytes to the server and %d from it; cut at %d", c.length[0], c.length[1], total)
		c.mu.Unlock()
		pgtest.Eventually(t, 20*time.Minute, func() error {
			if left := c.left(); left > 0 && !w.over() {
				return fmt.Errorf("%d of %d cuts are left", left, total)
			}
			return nil
		})
		w.links[0].Hook(nil)
		c.mu.Lock()
		for range c.done {
			injected(name, seed)
		}
		if c.done < total*9/10 {
			t.Errorf("%d cuts of %d were made before the run was over", c.done, total)
		}
		c.mu.Unlock()
		w.finishes()
	})
}
