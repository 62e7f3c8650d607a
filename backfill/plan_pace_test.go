package backfill

import (
	"fmt"
	"net"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/internal/pgtest/proxy"
)

// said is what a plan says of one of its choices.
func said(plan *Plan, what string) string {
	for _, c := range plan.Choices {
		if c.What == what {
			return c.Is + ": " + c.Why
		}
	}
	return ""
}

// Where nobody says how many workers there are, it is half of the server's cores, from 2 to 4, as far as the cores can be seen; more where round trips
// take a part of a chunk's time that shows; and never more than is allowed. The plan says what it was chosen by.
//
// Made to fail: without the look at boot_val the default of 8 counts as cores; without the part of roundTrips "far away" has two.
func TestPlanChoosesWorkers(t *testing.T) {
	t.Parallel()
	made := func(setting string) *pgtest.DB {
		db := pgtest.New(t)
		db.Exec("CREATE TABLE w (id int PRIMARY KEY, v int)")
		if setting != "" {
			db.Exec(fmt.Sprintf("ALTER DATABASE %s SET max_parallel_workers = %s", db.Name(), setting))
		}
		return db
	}
	shared, large, single := made(""), made("32"), made("1")
	here := fmt.Sprintf("the server is on this machine, which has %d core", runtime.GOMAXPROCS(0))
	for _, c := range []struct {
		name    string
		db      *pgtest.DB
		pace    Pace
		most    int
		latency time.Duration
		workers int // 0 is any
		why     []string
	}{
		{"said", large, Pace{Workers: 7}, 0, 0, 7, []string{"as was said"}},
		{"many cores", large, Pace{}, 0, 0, 4, []string{"max_parallel_workers was set to 32"}},
		{"one core", single, Pace{}, 0, 0, 1, []string{"max_parallel_workers was set to 1"}},
		{"a ceiling", large, Pace{}, 3, 0, 3, []string{"no more than 3 are allowed"}},
		{"far away", large, Pace{}, 0, 10 * time.Millisecond, 0, []string{"a round trip takes", "in a chunk of 100ms"}},
		{"far away, for longer chunks", large, Pace{ChunkTarget: time.Hour}, 0, 10 * time.Millisecond, 4, nil},
		{"far away, and nothing set", shared, Pace{}, 0, 10 * time.Millisecond, 3, []string{"cannot be seen from here", "1 more, since a round trip takes"}},
		{"here", shared, Pace{ChunkTarget: time.Hour}, 0, 0, 0, nil},
	} {
		dsn := c.db.DSN()
		if c.latency > 0 {
			u, err := url.Parse(dsn)
			if err != nil {
				t.Fatal(err)
			}
			p, err := proxy.New(u.Host)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			p.Latency(c.latency/2, c.latency/2)
			if dsn, err = p.DSN(dsn); err != nil {
				t.Fatal(err)
			}
		}
		conn := pgtest.Connect(t, dsn)
		plan, err := Planner{MostWorkers: c.most}.Plan(t.Context(), conn, setJob("v", "1"), c.pace)
		if err != nil {
			t.Fatal(err)
		}
		why := said(plan, "workers")
		if c.workers > 0 && plan.Pace.Workers != c.workers && !(c.latency > 0 && plan.RoundTrip > 2*c.latency) { // a busy machine makes it longer
			t.Errorf("%s: %d workers: %s", c.name, plan.Pace.Workers, why)
		}
		for _, words := range c.why {
			if !strings.Contains(why, words) {
				t.Errorf("%s: the reason is %q, want %q", c.name, why, words)
			}
		}
		switch {
		case plan.RoundTrip < c.latency || plan.RoundTrip == 0:
			t.Errorf("%s: a round trip takes %s", c.name, plan.RoundTrip)
		case c.name == "far away" && plan.Pace.Workers <= mostChosen:
			t.Errorf("%s: %d workers", c.name, plan.Pace.Workers)
		case c.name == "here":
			tcp, isTCP := conn.PgConn().Conn().RemoteAddr().(*net.TCPAddr)
			near := !isTCP || tcp.IP.IsLoopback() && plan.RoundTrip < nearby
			if near != strings.Contains(why, here) {
				t.Errorf("%s, %s away: %s", c.name, plan.RoundTrip, why)
			}
		}
	}
}

// Chunks begin with so many rows that the first one is no surprise: fewer where rows are wide, where each needs an entry in every index, and
// where a program computes them; and the plan says why, and what bounds them.
//
// Made to fail: with firstChunkRows in place of the fit, and without the entries, "wide" and "indexed" begin with 1000 rows.
func TestPlanChoosesChunks(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(`CREATE TABLE w (id int PRIMARY KEY, pad text, v int) WITH (autovacuum_enabled = off);
		INSERT INTO w SELECT n, repeat('x', 100), 0 FROM generate_series(1, 20000) n; ANALYZE w`)
	for _, c := range []struct {
		name, sql string
		job       Job
		pace      Pace
		first     func(int) bool
		why       []string
	}{
		{"as it is", "", setJob("v", "1"), Pace{}, func(n int) bool { return n == firstChunkRows }, []string{"1 000 rows at first, then what takes 100ms, at most 50 000 rows", "rows are about"}},
		{"said", "", setJob("v", "1"), Pace{ChunkRows: 70}, func(n int) bool { return n == 0 }, []string{"70 rows: as was said"}},
		{"a least number of rows", "", setJob("v", "1"), Pace{ChunkMaxRows: 30}, func(n int) bool { return n == 30 }, []string{"at most 30 rows"}},
		{"indexed", strings.Repeat("CREATE INDEX ON w (v); ", 19), setJob("v", "1"), Pace{}, func(n int) bool { return n > 300 && n < firstChunkRows }, []string{"fewer than usual", "entry in 20 indexes"}},
		{"wide", "UPDATE w SET pad = repeat('x', 1900); ANALYZE w", setJob("pad", "t.pad"), Pace{}, func(n int) bool { return n >= leastFirstRows && n < 500 }, []string{"fewer than usual, for rows are about"}},
	} {
		if c.sql != "" {
			db.Exec(c.sql)
		}
		plan := planFor(t, db.Conn(), c.job, c.pace)
		if why := said(plan, "chunks"); !c.first(plan.FirstRows) || !strings.Contains(why, c.why[0]) || !strings.Contains(why, c.why[len(c.why)-1]) {
			t.Errorf("%s: %d rows at first: %s", c.name, plan.FirstRows, why)
		}
	}
}
