package throttle

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/human"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

const (
	// DefaultReplies is for how long a standby may say nothing. One that works replies at least every
	// wal_receiver_status_interval, 10 s unless somebody changed it.
	DefaultReplies = 20 * time.Second
	// freshLook is how old a look may be to be shared by two signals.
	freshLook = 50 * time.Millisecond
)

var errDemoted = errors.New("the server is a standby: it was the primary, or never")

// replicas looks at the primary's standbys, for the signals of lag by time and by bytes, and for the pace.
type replicas struct {
	query  Querier
	limits func() Limits
	clock  *walClock
	// flushed is the same of what the primary had on its disk: only that is sent to standbys.
	flushed *walClock
	// replyMax is for how long a standby may say nothing.
	replyMax time.Duration
	// pressed is told how far behind the replicas are, after every look.
	pressed func(Pressure)
	// others is set where standbys are asked themselves, against the primary's place as of the latest look.
	others bool
	// present is set while there are standbys that count.
	present atomic.Bool
	// known is what the latest look found.
	known atomic.Pointer[[]Replica]
	// server tells the primary from others, by when it was started; nil is not known.
	server atomic.Pointer[string]

	mu      sync.Mutex // guards what is below
	members members
	at      time.Time // of the latest good look
	pos     position  // of the primary
	began   string    // when the server was started: another moment is another server
	aurora  bool
	asked   bool // aurora is known
	hidden  int  // standbys of which the role may not see how far they are
	role    string
	unheard []string // standbys that have just connected and said nothing yet
	readers []auroraReader
}

// auroraReader is a reader of an Aurora cluster, and its lag in seconds; negative is unknown.
type auroraReader struct {
	name string
	lag  float64
}

func newReplicas(query Querier, limits func() Limits, clock *walClock, replies time.Duration, tell func(string), pressed func(Pressure)) *replicas {
	return &replicas{query: query, limits: limits, clock: clock, flushed: &walClock{}, replyMax: replies, pressed: pressed, members: members{tell: tell}}
}

// look reads the standbys, unless that was done a moment ago. The caller holds mu.
func (r *replicas) look(ctx context.Context) error {
	begin := time.Now()
	if !r.at.IsZero() && begin.Sub(r.at) < freshLook {
		return nil
	}
	if !r.asked {
		rows, err := r.query.Query(ctx, pgsql.AuroraThere())
		if err != nil {
			return err
		}
		r.aurora, r.asked = flag(cell(rows, 0, 0)), true
	}
	read := r.lookAtStandbys
	if r.aurora {
		read = r.lookAtReaders
	}
	if err := read(ctx, begin); err != nil {
		r.asked = false // after an error it may be another server
		return err
	}
	r.members.forget(r.limits().Lag.Grace, r.limits().Lag.Require, begin)
	r.at = begin
	found := r.found(begin)
	r.known.Store(&found)
	r.present.Store(len(r.counted()) > 0)
	r.pressed(r.pressure(begin))
	return nil
}

// Replica is what is known of one replica.
type Replica struct {
	// Name is its application_name, with its address where that says too little.
	Name string
	// Lag is how far it is behind; Known is false where it is behind since before it was first looked at, or gone: it is at
	// least Lag then. Bytes is the same in the write-ahead log, 0 where the readers of an Aurora cluster share it.
	Lag   time.Duration
	Known bool
	Bytes int64
	// Gone is for how long it is missed; 0 is there. Ignored is set where it does not count.
	Gone    time.Duration
	Ignored bool
}

// found is what is known of each replica.
func (r *replicas) found(now time.Time) []Replica {
	list, ignore := []Replica{}, r.limits().Lag.Ignore
	for _, m := range r.members.list {
		one := Replica{Name: r.members.name(m), Ignored: listed(m.sighting, ignore)}
		if r.aurora {
			for _, reader := range r.readers {
				if reader.name == m.app && reader.lag >= 0 {
					one.Lag, one.Known = time.Duration(reader.lag*float64(time.Second)), true
				}
			}
		} else {
			one.Lag, one.Known = r.clock.behind(m.replayed, now)
			if m.replayed < r.pos {
				one.Bytes = int64(r.pos - m.replayed)
			}
		}
		if !m.gone.IsZero() {
			one.Gone, one.Known = now.Sub(m.gone), false
		}
		list = append(list, one)
	}
	return list
}

// pressure is how far behind the worst standby is.
func (r *replicas) pressure(now time.Time) Pressure {
	worst, l := Pressure{None: true}, r.limits().Lag
	if r.aurora {
		return worst
	}
	for _, m := range r.counted() {
		p := Pressure{MaxLag: max(l.Max, 0), MaxBytes: max(l.MaxBytes, 0), Replayed: int64(m.advanced), Since: m.apart}
		p.Lag, _ = r.clock.behind(m.replayed, now)
		p.Queue, _ = r.flushed.behind(m.replayed, now)
		if m.replayed < r.pos {
			p.Bytes = int64(r.pos - m.replayed)
		}
		p.Poll = busyLook
		if l.MaxBytes <= 0 {
			p.Poll = max(l.Max/lagTenth, leastPoll)
		}
		p.Poll = max(p.Poll, p.Since)
		if worst.None || p.used() > worst.used() {
			worst = p
		}
	}
	return worst
}

func (r *replicas) lookAtStandbys(ctx context.Context, begin time.Time) error {
	rows, err := r.query.Query(ctx, pgsql.Replicas())
	if err != nil {
		return err
	}
	if len(rows) == 0 || len(rows[0]) < 14 {
		return fmt.Errorf("an answer of %d rows; expected at least one", len(rows))
	}
	first := rows[0]
	if flag(first[0]) {
		if again, ok := r.query.(Reconnector); ok {
			again.Reconnect()
		}
		return errDemoted
	}
	pos, err := place(first[1])
	if err != nil {
		return err
	}
	if began := text(first[2]); began != r.began {
		r.clock.reset()
		r.flushed.reset()
		if r.began != "" {
			r.members.promoted(text(first[3]))
		}
		r.began = began
		r.server.Store(&began)
	}
	r.role, r.pos = text(first[4]), pos
	r.clock.saw(begin, pos)
	onDisk := pos
	if v := cell(rows, 0, 14); v != nil {
		if onDisk, err = place(v); err != nil {
			return err
		}
	}
	r.flushed.saw(begin, onDisk)
	seen, err := r.sightings(rows)
	if err != nil {
		return err
	}
	r.members.saw(seen, begin)
	return nil
}

// sightings takes apart the rows of one look.
func (r *replicas) sightings(rows [][]*string) ([]sighting, error) {
	r.hidden, r.unheard = 0, nil
	var seen []sighting
	maySee := flag(rows[0][5])
	for _, row := range rows {
		state, replayed, reply := row[9], row[10], row[12]
		switch {
		case row[6] == nil, flag(row[13]), text(state) == "backup":
			continue // none; a logical one, which its slot speaks for; a base backup
		case state == nil && !maySee:
			r.hidden++
			continue
		case replayed == nil && reply != nil:
			continue // it keeps the log and replays nothing, as pg_receivewal does
		case replayed == nil:
			r.unheard = append(r.unheard, text(row[7]))
			continue
		}
		pos, err := place(replayed)
		if err != nil {
			return nil, err
		}
		seen = append(seen, sighting{app: text(row[7]), addr: text(row[8]), replayed: pos, said: text(reply)})
	}
	return seen, nil
}

func (r *replicas) lookAtReaders(ctx context.Context, begin time.Time) error {
	rows, err := r.query.Query(ctx, pgsql.AuroraReplicas())
	if err != nil {
		return err
	}
	r.readers = nil
	var seen []sighting
	for _, row := range rows {
		lag := -1.0
		if row[1] != nil {
			if lag, err = strconv.ParseFloat(*row[1], 64); err != nil {
				return fmt.Errorf("the lag %q of %s is no number", *row[1], text(row[0]))
			}
		}
		r.readers = append(r.readers, auroraReader{text(row[0]), lag})
		seen = append(seen, sighting{app: text(row[0])})
	}
	r.members.saw(seen, begin)
	for _, m := range r.members.list {
		if m.gone.IsZero() {
			m.heard = begin // the function is the server's own and has no replies
		}
	}
	return nil
}

// trouble is what is to be said of the standbys before any number: a reading that shuts the gate, or an error. Both are
// zero where all that counts is there and can be seen.
func (r *replicas) trouble(now time.Time) (Reading, error) {
	l := r.limits()
	if r.hidden > 0 && l.Unmonitored != Accept {
		return Reading{}, noPrivilege(r.role, "how far "+plural(int64(r.hidden), "standby is", "standbys are")+" behind")
	}
	shut := func(says, detail string) Reading { return Reading{Says: says, Shut: true, Detail: detail} }
	if name := r.members.missing(l.Lag.Require); name != "" {
		return shut("unknown", "standby "+name+" is required and not connected"), nil
	}
	for _, m := range r.members.list {
		name := r.members.name(m)
		switch {
		case listed(m.sighting, l.Lag.Ignore):
		case !m.gone.IsZero() && listed(m.sighting, l.Lag.Require):
			return shut("unknown", fmt.Sprintf("standby %s is required and gone for %s", name, brief(now.Sub(m.gone)))), nil
		case !m.gone.IsZero():
			return shut("unknown", fmt.Sprintf("standby %s is gone for %s, forgotten after %s", name, brief(now.Sub(m.gone)), brief(l.Lag.Grace))), nil
		case now.Sub(m.heard) > r.replyMax:
			return Reading{}, fmt.Errorf("standby %s has not replied for %s", name, brief(now.Sub(m.heard)))
		}
	}
	for _, name := range r.unheard {
		if !listed(sighting{app: name}, l.Lag.Ignore) {
			return shut("unknown", "standby "+name+" has not yet said how far it is"), nil
		}
	}
	return Reading{}, nil
}

// counted are the standbys that are there and not ignored.
func (r *replicas) counted() []*member {
	var list []*member
	for _, m := range r.members.list {
		if m.gone.IsZero() && !listed(m.sighting, r.limits().Lag.Ignore) {
			list = append(list, m)
		}
	}
	return list
}

// none is the reading where there is no standby to be heeded.
func (r *replicas) none() Reading {
	note := "no standby is connected"
	switch {
	case r.hidden > 0:
		note = plural(int64(r.hidden), "standby is", "standbys are") + unmonitored
	case len(r.members.list) > 0:
		note = "every standby is in lag.ignore"
	}
	return Reading{Off: true, Note: note}
}

// unmonitored is said of what is not seen where that was accepted in writing.
const unmonitored = " not monitored, by agreement"

// plural is a number before the words that go with it.
func plural(n int64, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return human.Count(n) + " " + several
}

func noPrivilege(role, what string) error {
	return &Problem{
		Found: fmt.Sprintf("role %s may not see %s", role, what), Kind: ErrPrivilege,
		Remedy: fmt.Sprintf("GRANT pg_monitor TO %s, or say throttle: {unmonitored: accept} to run without", pgsql.Ident(role)),
	}
}

// text is a value that may be NULL; flag one of type boolean.
func text(v *string) string {
	if v == nil {
		return ""
	}
	return *v
}

func flag(v *string) bool { return text(v) == "t" }

func cell(rows [][]*string, row, column int) *string {
	if row >= len(rows) || column >= len(rows[row]) {
		return nil
	}
	return rows[row][column]
}

func place(v *string) (position, error) {
	if v == nil {
		return 0, errors.New("the server does not say where it is in the log")
	}
	n, err := strconv.ParseUint(*v, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no place in the log", *v)
	}
	return position(n), nil
}
