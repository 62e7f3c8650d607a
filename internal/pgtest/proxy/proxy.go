// Package proxy stands between a client and a PostgreSQL server and does to their connection what networks do: it cuts,
// refuses, stalls and delays. Since it reads the protocol (version 3), a test can choose the very message at which
// that happens:
//
//	p, err := proxy.New("127.0.0.1:5432")
//	if err != nil { … }
//	defer p.Close()
//	p.Hook(proxy.LoseCommitAnswer(1)) // the commit is done, and its client never hears of it
//	conn, err := pgx.Connect(ctx, p.DSN(dsn))
package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"
)

// Side is one end of a connection.
type Side int

// The two ends, and who sent a message.
const (
	Frontend Side = iota // the client
	Backend              // the server
)

// String names the side as PostgreSQL's documentation does.
func (s Side) String() string {
	if s == Frontend {
		return "frontend"
	}
	return "backend"
}

// Verdict is what a hook decides about a message.
type Verdict int

// What can be done with a message.
const (
	Forward Verdict = iota // deliver it
	Drop                   // do not deliver it; the connection goes on
	Cut                    // do not deliver it, and cut the connection on both sides
	// ForwardThenCut delivers it and cuts the connection before anything else passes to the client. What the server makes of
	// it is open: pgx, for one, then sends a cancel request over a new connection, which may be in time. A hook that wants none
	// calls [Proxy.Refuse] first.
	ForwardThenCut
	// cutsAfter, and a number of bytes, is what [CutAfter] makes.
	cutsAfter
)

// CutAfter is the verdict that delivers the first n bytes of a message, its letter and length among them, and cuts the
// connection there. The message's receiver reads these bytes and then an end, its sender sees a reset.
func CutAfter(n int) Verdict { return cutsAfter + Verdict(n) }

// Hook is asked about every message before it is delivered. It is called from several goroutines, one for each
// direction of each connection; in one direction, messages come in order. While it runs, nothing passes in its
// direction, so a hook may also wait for something.
type Hook func(Message) Verdict

// Proxy listens on 127.0.0.1 and forwards to one server. Its methods may be called from any goroutine.
type Proxy struct {
	listener net.Listener
	stop     context.CancelFunc
	done     sync.WaitGroup // the accepting goroutine and those of every connection

	mu      sync.Mutex // guards what is below
	target  string
	links   map[*link]struct{}
	serial  uint64
	refuse  bool
	hook    Hook
	latency [2]time.Duration // of messages sent by each side
	held    [2]chan struct{} // closed when the side may send again; nil when it may
}

// New starts a proxy for the server at an address such as "127.0.0.1:5432".
func New(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting a proxy: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &Proxy{target: target, listener: l, stop: stop, links: map[*link]struct{}{}}
	p.done.Go(func() { p.accept(ctx) })
	return p, nil
}

// Addr is where the proxy listens, as host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// DSN is a connection string in URL form with the proxy in the server's place.
func (p *Proxy) DSN(dsn string) (string, error) {
	u, err := url.Parse(dsn)
	if err != nil || u.Host == "" {
		return "", errors.Join(errors.New("want a connection string in URL form"), err)
	}
	u.Host = p.Addr()
	return u.String(), nil
}

// Target sets the server that new connections are made to.
func (p *Proxy) Target(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// Hook sets who is asked about each message; nil means nobody.
func (p *Proxy) Hook(h Hook) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hook = h
}

// Refuse says whether new connections are closed as soon as they are made. Those there are live on.
func (p *Proxy) Refuse(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = yes
}

// CutAll cuts every connection that there is, and returns how many. The client sees a reset.
func (p *Proxy) CutAll() int {
	p.mu.Lock()
	links := make([]*link, 0, len(p.links))
	for l := range p.links {
		links = append(links, l)
	}
	p.mu.Unlock()
	for _, l := range links {
		l.cut()
	}
	return len(links)
}

// Connections counts those that are open.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Serial is the number of the newest connection, as [Message] has it; 0 where there was none.
func (p *Proxy) Serial() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.serial
}

// Latency delays what each side sends, without lowering how much can be under way. It holds for messages that
// arrive from now on.
func (p *Proxy) Latency(frontend, backend time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latency = [2]time.Duration{Frontend: frontend, Backend: backend}
}

// Pause holds what the sides send, both when none is named: the connections stay open and nothing passes.
func (p *Proxy) Pause(sides ...Side) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range orBoth(sides) {
		if p.held[s] == nil {
			p.held[s] = make(chan struct{})
		}
	}
}

// Resume ends a Pause; what was held is delivered.
func (p *Proxy) Resume(sides ...Side) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range orBoth(sides) {
		if p.held[s] != nil {
			close(p.held[s])
			p.held[s] = nil
		}
	}
}

func orBoth(sides []Side) []Side {
	if len(sides) == 0 {
		return []Side{Frontend, Backend}
	}
	return sides
}

// Close cuts all connections and ends the proxy.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	p.stop() // cuts the links, also one that is just being made
	p.done.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (p *Proxy) accept(ctx context.Context) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		p.mu.Lock()
		refuse := p.refuse
		p.mu.Unlock()
		if refuse {
			reset(client)
			continue
		}
		p.done.Go(func() { p.serve(ctx, client) })
	}
}

// hold gives the channel to wait on before the side may send, or nil.
func (p *Proxy) hold(s Side) chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held[s]
}

func (p *Proxy) ask(m Message) Verdict {
	p.mu.Lock()
	h := p.hook
	p.mu.Unlock()
	if h == nil {
		return Forward
	}
	return h(m)
}

func (p *Proxy) delay(s Side) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.latency[s]
}

// reset closes a connection so that the other end sees an error and not an orderly end.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // where that fails, it is an orderly end
	}
	c.Close()
}
