package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// delay is a longer way to a server: a TCP proxy that hands on what it gets when half of a round trip has passed, in both directions, without
// making anything wait for what came before it.
type delay struct {
	listener net.Listener
	network  string
	address  string
	half     time.Duration

	mu     sync.Mutex // guards conns and closed
	conns  []net.Conn
	closed bool
	work   sync.WaitGroup
}

// lengthen makes a way of so long a round trip to a server.
func lengthen(network, address string, roundTrip time.Duration) (*delay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d := &delay{listener: l, network: network, address: address, half: roundTrip / 2}
	d.work.Go(d.accept)
	return d, nil
}

func (d *delay) port() int { return d.listener.Addr().(*net.TCPAddr).Port }

func (d *delay) close() {
	d.listener.Close()
	d.mu.Lock()
	d.closed = true
	for _, c := range d.conns {
		c.Close()
	}
	d.mu.Unlock()
	d.work.Wait()
}

func (d *delay) accept() {
	for {
		client, err := d.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial(d.network, d.address)
		if err != nil || !d.keep(client, server) {
			client.Close()
			continue
		}
		d.work.Go(func() { d.carry(client, server) })
		d.work.Go(func() { d.carry(server, client) })
	}
}

// keep remembers connections, to close them; false is that it is too late for new ones.
func (d *delay) keep(conns ...net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		for _, c := range conns {
			c.Close()
		}
		return false
	}
	d.conns = append(d.conns, conns...)
	return true
}

// carry takes what one end says to the other, until one of them ends.
func (d *delay) carry(from, to net.Conn) {
	type parcel struct {
		due  time.Time
		text []byte
	}
	underWay := make(chan parcel, 1024)
	d.work.Go(func() {
		defer to.Close()
		for p := range underWay {
			time.Sleep(time.Until(p.due))
			if _, err := to.Write(p.text); err != nil {
				from.Close() // its reader ends, and with it what is under way
			}
		}
	})
	defer close(underWay)
	for {
		buffer := make([]byte, 32<<10)
		n, err := from.Read(buffer)
		if n > 0 {
			underWay <- parcel{time.Now().Add(d.half), buffer[:n]}
		}
		if err != nil {
			return
		}
	}
}

// errVerified says that the server's name is part of the connection's proof, which another way would break.
var errVerified = errors.New("round trips: the connection checks the server's certificate, and a longer way to it has another name")

// sslMode is how the server is spoken to, as other clients have to be told.
func (b *workshop) sslMode(ctx context.Context) (string, error) {
	var encrypted bool
	err := b.conn.QueryRow(ctx, "SELECT COALESCE((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)").Scan(&encrypted)
	if err == nil && encrypted {
		return "require", nil
	}
	return "disable", err
}

// mayLengthen reports why no longer way to the server can be made; nil is that it can.
func (b *workshop) mayLengthen() error {
	if tls := b.conn.Config().TLSConfig; tls != nil && !tls.InsecureSkipVerify {
		return errVerified
	}
	return nil
}

// throughDelay does something over a longer way to the server.
func (b *workshop) throughDelay(ctx context.Context, roundTrip time.Duration, do func(context.Context, *workshop) (usage, error)) (usage, error) {
	ssl, err := b.sslMode(ctx)
	if err != nil {
		return usage{}, err
	}
	to := b.conn.Config()
	network, address := "tcp", net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port)))
	if strings.HasPrefix(to.Host, "/") {
		network, address = "unix", fmt.Sprintf("%s/.s.PGSQL.%d", to.Host, to.Port)
	}
	d, err := lengthen(network, address, roundTrip)
	if err != nil {
		return usage{}, err
	}
	defer d.close()
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(to.User, to.Password), Host: fmt.Sprintf("127.0.0.1:%d", d.port()), Path: "/" + to.Database,
		RawQuery: "sslmode=" + ssl,
	}
	b.via = u.String()
	defer func() { b.via = "" }()
	return do(ctx, b)
}
