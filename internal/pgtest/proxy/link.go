package proxy

import (
	"bufio"
	"context"
	"net"
	"sync/atomic"
	"time"
)

// link is one client's connection and ours to the server for it.
type link struct {
	serial         uint64
	client, server net.Conn
	end            context.CancelFunc
	gagged         atomic.Bool // nothing more passes to the client
}

// cut ends the link. The client sees a reset; the server, which may have something yet to read, an orderly end.
func (l *link) cut() {
	l.end()
	reset(l.client)
	l.server.Close()
}

// parcel is a message that is under way.
type parcel struct {
	Message
	due time.Time
}

// underWay is how many messages may be under way in one direction: enough for a latency not to slow a bulk down.
const underWay = 4096

func (p *Proxy) serve(ctx context.Context, client net.Conn) {
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := new(net.Dialer).DialContext(ctx, "tcp", target)
	if err != nil {
		reset(client) // the server cannot be reached: so cannot we
		return
	}
	ctx, end := context.WithCancel(ctx)
	l := &link{client: client, server: server, end: end}
	p.mu.Lock()
	p.serial++
	l.serial = p.serial
	p.links[l] = struct{}{}
	p.mu.Unlock()
	// Reads and writes know no context: closing the connections ends them.
	unhook := context.AfterFunc(ctx, l.cut)
	defer func() {
		unhook()
		l.cut()
		p.mu.Lock()
		delete(p.links, l)
		p.mu.Unlock()
	}()

	first, err := readStartup(client)
	if err != nil {
		return
	}
	fromFrontend, fromBackend := make(chan parcel, underWay), make(chan parcel, underWay)
	fromFrontend <- parcel{Message{l.serial, Frontend, Startup, first}, time.Now().Add(p.delay(Frontend))}
	ended := make(chan Side, 2) // which side's messages are at their end
	go p.receive(ctx, l, Frontend, fromFrontend)
	go p.receive(ctx, l, Backend, fromBackend)
	go func() { p.deliver(ctx, l, fromFrontend, server); ended <- Frontend }()
	go func() { p.deliver(ctx, l, fromBackend, client); ended <- Backend }()

	switch <-ended {
	case Frontend:
		// The client has said goodbye, or only sent a cancel request: the server ends the connection, and what it
		// says until then still passes.
		if tcp, ok := server.(*net.TCPConn); ok {
			_ = tcp.CloseWrite() // where that fails, the connection is at its end
		}
		<-ended
		client.Close()
	case Backend:
		client.Close()
		server.Close()
		<-ended
	}
}

// receive reads what a side sends until it ends, and closes out.
func (p *Proxy) receive(ctx context.Context, l *link, from Side, out chan<- parcel) {
	defer close(out)
	conn := l.client
	if from == Backend {
		conn = l.server
	}
	r := bufio.NewReader(conn)
	for {
		kind, payload, err := readMessage(r)
		if err != nil {
			return // an end is an end: its reason is for the two ends to say
		}
		select {
		case out <- parcel{Message{l.serial, from, kind, payload}, time.Now().Add(p.delay(from))}:
		case <-ctx.Done():
			return
		}
	}
}

// deliver writes messages when they are due, unless the hook decides otherwise, until there are no more.
func (p *Proxy) deliver(ctx context.Context, l *link, in <-chan parcel, to net.Conn) {
	// Without this, a sender whose link is gone would wait for room.
	defer func() {
		for range in {
		}
	}()
	for m := range in {
		if !wait(ctx, time.Until(m.due)) {
			break
		}
		for held := p.hold(m.From); held != nil; held = p.hold(m.From) {
			select {
			case <-held:
			case <-ctx.Done():
				l.cut()
				return
			}
		}
		if m.From == Backend && l.gagged.Load() {
			continue
		}
		verdict := p.ask(m.Message)
		if verdict >= cutsAfter {
			p.broken(l, m.Message, int(verdict-cutsAfter), to)
			return
		}
		switch verdict {
		case Drop:
			continue
		case Cut:
			l.cut()
			return
		case ForwardThenCut:
			p.lastWords(l, m.Message, to)
			return
		case Forward, cutsAfter:
		}
		if _, err := to.Write(m.encode()); err != nil {
			l.cut()
			return
		}
	}
}

// lastWords delivers a message as the last one of its link. What the frontend said, the server is given the time to read
// and act upon: nothing more reaches the client, and the link ends when the server ends it.
func (p *Proxy) lastWords(l *link, m Message, to net.Conn) {
	if m.From == Backend {
		_, _ = to.Write(m.encode()) // the link ends here, whether that was heard or not
		_ = to.(*net.TCPConn).CloseWrite()
		l.end()
		l.server.Close()
		l.client.Close()
		return
	}
	l.gagged.Store(true)
	reset(l.client)
	if _, err := to.Write(m.encode()); err != nil {
		l.cut()
	}
}

// broken delivers the first bytes of a message and then ends the link: orderly for the receiver, which so reads them.
func (*Proxy) broken(l *link, m Message, n int, to net.Conn) {
	all := m.encode()
	_, _ = to.Write(all[:min(n, len(all))]) // the link ends here, whether that was heard or not
	if tcp, ok := to.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	l.end()
	if m.From == Frontend {
		reset(l.client)
		l.server.Close()
		return
	}
	l.client.Close()
	l.server.Close()
}

// wait reports whether the time has passed before the context ended.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
