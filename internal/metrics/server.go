package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// The bounds of the server: who asks slowly, or for ever, holds nothing up.
const (
	readTimeout  = 5 * time.Second
	writeTimeout = 10 * time.Second
	idleTimeout  = time.Minute
	mostHeader   = 16 << 10
	// atOnce is how many may ask at the same time; others are told to come back.
	atOnce = 4
	// closing is how long answers under way may take when the work is done.
	closing = time.Second
)

// Server answers scrapes at /metrics. [Serve] starts one.
type Server struct {
	listener net.Listener
	http     *http.Server
	served   chan struct{}
}

// Serve begins to answer at an address: ":9187" is that port on every interface of the machine, "localhost:9187" on none
// that others reach, and port 0 one that is free. An address that cannot be had is an error of kind
// [backfill.ErrInput].
func Serve(address string, m *Metrics) (*Server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		var why *net.OpError
		if errors.As(err, &why) {
			err = why.Err // the rest of it says the address once more
		}
		return nil, &backfill.Error{
			Place: "metrics " + address, Found: "nothing can listen there", Err: err, Kind: backfill.ErrInput,
			Remedy: "name another address, as --metrics :9188, or :0 for a port that is free; or go on without: --metrics off",
		}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: atOnce}))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "pgbackfill: see /metrics") })
	s := &Server{
		listener: listener, served: make(chan struct{}),
		http: &http.Server{
			Handler: mux, ErrorLog: log.New(io.Discard, "", 0), // standard error is the run's
			ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: mostHeader,
		},
	}
	go func() {
		defer close(s.served)
		_ = s.http.Serve(listener) // it ends when Close is called; a listener that is lost costs the metrics and not the run
	}()
	return s, nil
}

// URL is where the metrics are.
func (s *Server) URL() string {
	host, port, err := net.SplitHostPort(s.listener.Addr().String())
	if err != nil {
		return "http://" + s.listener.Addr().String() + "/metrics"
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port) + "/metrics"
}

// Close stops listening, lets answers under way end for a moment, and returns when nothing of it is left.
func (s *Server) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close() // what is left of it is cut off
	}
	<-s.served
}
