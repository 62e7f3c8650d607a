package proxy

import (
	"fmt"
	"strings"
	"sync"
)

// Trace records the round trips of a proxy's connections, in the order in which clients begin them: each is what ends with a Sync, or a
// statement by itself, or the start of a connection. Its zero value is ready:
//
//	var trips proxy.Trace
//	p.Hook(trips.Hook)
type Trace struct {
	mu   sync.Mutex
	list []Trip
	// open are the statements of each connection that are sent, and not yet to be answered.
	open map[uint64][]string
}

// Trip is one round trip.
type Trip struct {
	// Conn is the connection's number, as [Message] has it.
	Conn uint64
	// Statements are the texts of what was sent together; none is the start of a connection.
	Statements []string
}

// String shows the beginning of each statement, without settings and what begins and ends transactions.
func (t Trip) String() string {
	var words []string
	for _, sql := range t.Statements {
		text := strings.Join(strings.Fields(sql), " ")
		switch {
		case strings.HasPrefix(text, "SELECT pg_catalog.set_config"):
			text = "set"
		case len(text) > 100:
			text = text[:100] + "…"
		}
		words = append(words, text)
	}
	if len(words) == 0 {
		words = []string{"(start)"}
	}
	return fmt.Sprintf("%d: %s", t.Conn, strings.Join(words, "; "))
}

// Hook sees a message, and lets it pass.
func (t *Trace) Hook(m Message) Verdict {
	if m.From != Frontend {
		return Forward
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = map[uint64][]string{}
	}
	switch m.Type {
	case Startup, 'p': // a password is sent when the server has asked
		t.list = append(t.list, Trip{Conn: m.Conn})
	case 'P':
		t.open[m.Conn] = append(t.open[m.Conn], m.SQL())
	case 'Q':
		t.list = append(t.list, Trip{Conn: m.Conn, Statements: []string{m.SQL()}})
	case 'S':
		t.list = append(t.list, Trip{Conn: m.Conn, Statements: t.open[m.Conn]})
		delete(t.open, m.Conn)
	}
	return Forward
}

// Trips are those until now.
func (t *Trace) Trips() []Trip {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Trip(nil), t.list...)
}
