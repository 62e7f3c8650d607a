package backfill

import (
	"context"
	"fmt"
	"math"
	"net"
	"runtime"
	"strings"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/human"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

const (
	// mostChosen is how many workers are chosen at most, and leastChosen at least where the server has as many cores: half of its
	// cores are the application's. More must be asked for.
	mostChosen, leastChosen = 4, 2
	// roundTrips is how many a chunk has, roundTripsWorth which part of a chunk's time they must take for another worker to be worth its
	// while, and roundTripsTried how often one is measured.
	roundTrips      = 2
	roundTripsWorth = 0.1
	roundTripsTried = 3
	// nearby is how fast a server answers over the loopback that is on this machine, and not at the other end of a tunnel.
	nearby = time.Millisecond
	// firstChunkBytes is about how much the first chunk writes at most, and leastFirstRows how many rows it has at least.
	firstChunkBytes = 1 << 20
	leastFirstRows  = 50
)

// Choice is one thing that the planner has decided, or been told, and why.
type Choice struct {
	// What is "workers" or "chunks".
	What string `json:"what"`
	// Is is what it came to, for people: "2 workers".
	Is string `json:"is"`
	// Why is what was read, or who said so.
	Why string `json:"why"`
}

// measure finds how long a round trip takes: the shortest of a few, since what makes one longer passes. Where they are long, two that agree
// are enough.
func (pl *planning) measure(ctx context.Context) error {
	shortest := &pl.plan.RoundTrip
	for range roundTripsTried {
		began := time.Now()
		if _, err := exchange(ctx, pl.conn.PgConn(), pgsql.Statement{Name: "round trip", SQL: "SELECT"}); err != nil {
			return err
		}
		took, before := time.Since(began), *shortest
		if took < before || before == 0 {
			*shortest = took
		}
		if *shortest >= nearby && max(took, before) < *shortest+*shortest/4 {
			break
		}
	}
	return nil
}

// choosePace decides how many workers there are, where nobody has said so.
func (pl *planning) choosePace(ctx context.Context) error {
	if err := pl.measure(ctx); err != nil {
		return err
	}
	p := pl.plan
	if pl.workersSaid {
		pl.chose("workers", human.Plural(int64(p.Pace.Workers), "worker"), "as was said")
		return nil
	}
	cores, why := pl.cores()
	n := leastChosen
	if cores > 0 {
		n = min(max(cores/2, leastChosen), mostChosen, cores)
		if n < cores {
			why += ", and the others are left to the application"
		}
	}
	waits := roundTrips * p.RoundTrip.Seconds() / max(p.Pace.ChunkTarget.Seconds(), 0.001)
	if waits >= roundTripsWorth {
		more := min(int(math.Ceil(float64(n)*(1+waits))), 2*n)
		why += fmt.Sprintf("; %d more, since a round trip takes %s, and a worker waits for two of them in a chunk of %s",
			more-n, p.RoundTrip.Round(100*time.Microsecond), p.Pace.ChunkTarget)
		n = more
	}
	if most := pl.known.MostWorkers; most > 0 && n > most {
		why += fmt.Sprintf("; no more than %d are allowed", most)
		n = most
	}
	p.Pace.Workers = n
	pl.chose("workers", human.Plural(int64(n), "worker"), why)
	return nil
}

// cores is how many cores the server is thought to have, and how that is known; 0 is not known. A client cannot ask: what it can see is
// its own machine's, where the server is on it, and what the server's operator has set for parallel queries, which is the number
// of cores by all advice. Its default says nothing, and services that set it set it to that at least.
func (pl *planning) cores() (int, string) {
	s := &pl.plan.Server
	var here bool
	if addr := pl.conn.PgConn().Conn().RemoteAddr(); addr != nil {
		tcp, isTCP := addr.(*net.TCPAddr)
		here = addr.Network() == "unix" || isTCP && tcp.IP.IsLoopback() && pl.plan.RoundTrip < nearby
	}
	switch n := runtime.GOMAXPROCS(0); {
	case s.ParallelWorkers > 0 && s.ParallelWorkersSet:
		return s.ParallelWorkers, fmt.Sprintf("max_parallel_workers was set to %d, which is taken for the number of the server's cores", s.ParallelWorkers)
	case here:
		return n, fmt.Sprintf("the server is on this machine, which has %s", human.Plural(int64(n), "core"))
	}
	return 0, "how many cores the server has cannot be seen from here; --workers says it"
}

// chooseChunks says how large chunks are, and with how many rows they begin: fewer where rows are wide, or each needs an entry in many indexes.
func (pl *planning) chooseChunks(context.Context) error {
	p := pl.plan
	if p.Pace.ChunkRows > 0 {
		pl.chose("chunks", human.Plural(int64(p.Pace.ChunkRows), "row"), "as was said")
		return nil
	}
	bytes, why := pl.rowWidth(), fmt.Sprintf("rows are about %s wide", human.Bytes(pl.rowWidth()))
	entries := int64(0)
	for _, x := range p.Table.Indexes {
		if x.Touches(pl.written()) {
			entries = int64(len(p.Table.Indexes))
		}
	}
	if entries > 0 {
		bytes += entries * entryBytes
		why += fmt.Sprintf(" and each change needs an entry in %s, since what is written is indexed", indexes(entries))
	}
	first := int64(firstChunkRows)
	if pl.plan.Job.Transform != nil {
		first, why = firstTransformRows, "it is not known how long the transform takes for a row"
	} else if fit := firstChunkBytes / max(bytes, 1); fit < first {
		first, why = max(fit, leastFirstRows), "fewer than usual, for "+why
	}
	most := int64(p.Pace.ChunkMaxRows)
	if bound := int64(p.Heap.bound()); bound > 0 && bound < most {
		most, why = bound, why+"; a pass over a window is made of at least four"
	}
	p.FirstRows = int(min(first, most))
	pl.chose("chunks", fmt.Sprintf("%s at first, then what takes %s, at most %s",
		human.Plural(int64(p.FirstRows), "row"), p.Pace.ChunkTarget, human.Plural(most, "row")), why)
	return nil
}

func indexes(n int64) string {
	if n == 1 {
		return "the index"
	}
	return fmt.Sprintf("%d indexes", n)
}

func (pl *planning) chose(what, is, why string) {
	pl.plan.Choices = append(pl.plan.Choices, Choice{What: what, Is: is, Why: strings.TrimPrefix(why, "; ")})
}
