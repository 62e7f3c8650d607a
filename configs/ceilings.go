package configs

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/throttle"
)

// ceilings are the most that the operator allows; a field at zero is no ceiling.
type ceilings struct {
	most backfill.Pace
	// by says where each ceiling stands, by the key of the pace.
	by map[string]string
	// limits are those of the throttle's signals, of each place that says any.
	limits []throttle.Limits
}

const ceilingPrefix = "ceilings."

// lowest takes of each ceiling the lowest that any place says.
func lowest(places ...layer) ceilings {
	strictest := newLayer()
	for _, place := range places {
		for name, value := range place.values {
			key, isCeiling := strings.CutPrefix(name, ceilingPrefix)
			if !isCeiling {
				continue
			}
			if old, there := strictest.values[key]; !there || amount(value) < amount(old) {
				strictest.values[key], strictest.origin[key] = value, place.origin[name]
			}
		}
	}
	c := ceilings{by: strictest.origin, limits: limitCeilings(places)}
	for key, value := range strictest.values {
		setCeiling(&c.most, key, value)
	}
	return c
}

// amount makes the values of one key comparable.
func amount(value any) float64 {
	switch v := value.(type) {
	case int:
		return float64(v)
	case time.Duration:
		return float64(v)
	case float64:
		return v
	}
	return 0
}

func setCeiling(p *backfill.Pace, key string, value any) {
	switch key {
	case "workers":
		p.Workers, _ = value.(int)
	case "rate":
		p.Rate, _ = value.(float64)
	case "chunk.max_rows":
		p.ChunkMaxRows, _ = value.(int)
	case "chunk.target":
		p.ChunkTarget, _ = value.(time.Duration)
	case "timeouts.lock":
		p.LockTimeout, _ = value.(time.Duration)
	case "timeouts.statement":
		p.StatementTimeout, _ = value.(time.Duration)
	case "timeouts.idle":
		p.IdleTimeout, _ = value.(time.Duration)
	}
}

// clamp lowers p; by says who asked for a key, "" is not known.
func (c ceilings) clamp(p backfill.Pace, by func(name string) string) (backfill.Pace, []string) {
	unlimited := p.Rate == backfill.Off
	p = p.Settled()
	l := lowering{ceilings: c, askedBy: by}
	p.Workers = lower(&l, "workers", "workers", p.Workers, c.most.Workers, strconv.Itoa)
	p.ChunkTarget = lower(&l, "chunk.target", "chunk.target", p.ChunkTarget, c.most.ChunkTarget, time.Duration.String)
	if p.ChunkRows > 0 {
		p.ChunkRows = lower(&l, "chunk.rows", "chunk.max_rows", p.ChunkRows, c.most.ChunkMaxRows, strconv.Itoa)
	}
	p.ChunkMaxRows = lower(&l, "chunk.max_rows", "chunk.max_rows", orMost(p.ChunkMaxRows, c.most.ChunkMaxRows), c.most.ChunkMaxRows, strconv.Itoa)
	p.LockTimeout = lower(&l, "timeouts.lock", "timeouts.lock", orMost(p.LockTimeout, c.most.LockTimeout), c.most.LockTimeout, time.Duration.String)
	p.StatementTimeout = lower(&l, "timeouts.statement", "timeouts.statement", orMost(p.StatementTimeout, c.most.StatementTimeout), c.most.StatementTimeout, time.Duration.String)
	p.IdleTimeout = lower(&l, "timeouts.idle", "timeouts.idle", orMost(p.IdleTimeout, c.most.IdleTimeout), c.most.IdleTimeout, time.Duration.String)
	if p.Rate == 0 && c.most.Rate > 0 {
		p.Rate = c.most.Rate
		if unlimited {
			l.note("rate", "rate", "no limit", perSecond(c.most.Rate))
		}
	}
	p.Rate = lower(&l, "rate", "rate", p.Rate, c.most.Rate, perSecond)
	limits, notes := c.clampLimits(p.Limits)
	p.Limits = limits
	return p, slices.Concat(l.notes, notes)
}

// lowering collects what was lowered.
type lowering struct {
	ceilings ceilings
	askedBy  func(name string) string
	notes    []string
}

func (l *lowering) note(name, ceiling, asked, most string) {
	by := l.askedBy(name)
	if by != "" {
		by = " by " + by
	}
	l.notes = append(l.notes, fmt.Sprintf("%s: %s asked for%s, %s allowed by %s: using %s", name, asked, by, most, l.ceilings.by[ceiling], most))
}

// lower is the asked value or the ceiling, whichever is less; a ceiling of zero is none.
func lower[T cmp.Ordered](l *lowering, name, ceiling string, asked, most T, show func(T) string) T {
	var none T
	if most == none || asked <= most {
		return asked
	}
	l.note(name, ceiling, show(asked), show(most))
	return most
}

// orMost is the ceiling where a value, for which zero would mean no bound at all, is not said.
func orMost[T comparable](value, most T) T {
	var none T
	if value == none {
		return most
	}
	return value
}

func perSecond(rate float64) string {
	return strconv.FormatFloat(rate, 'f', -1, 64) + " rows/s"
}

// said reports whether a pace says the key.
func said(p backfill.Pace, name string) bool {
	switch name {
	case "workers":
		return p.Workers != 0
	case "rate":
		return p.Rate != 0
	case "chunk.rows":
		return p.ChunkRows != 0
	case "chunk.target":
		return p.ChunkTarget != 0
	case "chunk.max_rows":
		return p.ChunkMaxRows != 0
	case "timeouts.lock":
		return p.LockTimeout != 0
	case "timeouts.statement":
		return p.StatementTimeout != 0
	case "timeouts.idle":
		return p.IdleTimeout != 0
	}
	return false
}
