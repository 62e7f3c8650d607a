package metrics_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/metrics"
)

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// Made to fail: with the listener not closed, the port is still taken at the end; with Serve's goroutine not waited for.
func TestServer(t *testing.T) { // not parallel: what goroutines are left is looked at
	before := goleak.IgnoreCurrent()
	m := metrics.New("1.2.3")
	m.Begin(metrics.Job{Name: "users", Command: "run"})
	s, err := metrics.Serve("127.0.0.1:0", m)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	address := strings.TrimSuffix(strings.TrimPrefix(s.URL(), "http://"), "/metrics")
	code, text := get(t, s.URL())
	for _, want := range []string{`pgbackfill_build_info{goversion="go`, `version="1.2.3"} 1`, "# TYPE pgbackfill_chunks_total counter", "go_goroutines"} {
		if !strings.Contains(text, want) {
			t.Errorf("%d: no %s in\n%s", code, want, text)
		}
	}
	if code, _ := get(t, "http://"+address+"/nothing"); code != http.StatusNotFound {
		t.Errorf("/nothing is %d", code)
	}
	if code, text := get(t, "http://"+address+"/"); code != http.StatusOK || !strings.Contains(text, "/metrics") {
		t.Errorf("/ is %d %q", code, text)
	}
	if answer, err := http.Post(s.URL(), "text/plain", strings.NewReader("x")); err != nil || answer.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("a POST is %v, %v", answer, err)
	} else {
		answer.Body.Close()
	}

	_, err = metrics.Serve(address, m)
	var e *backfill.Error
	if !errors.As(err, &e) || e.Kind != backfill.ErrInput || !strings.Contains(err.Error(), address) || !strings.Contains(err.Error(), "in use") || strings.Count(err.Error(), address) != 1 {
		t.Errorf("a port that is taken: %v", err)
	}

	// Who never ends a request holds the end up for a moment at most.
	slow, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	if _, err := io.WriteString(slow, "GET /metrics HTTP/1.1\r\nHost: x\r\n"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.Close()
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("closing took %s", took)
	}
	if _, err := bufio.NewReader(slow).ReadByte(); err == nil {
		t.Error("the slow one was answered")
	}
	again, err := metrics.Serve(address, m)
	if err != nil {
		t.Fatalf("the port is still taken: %v", err)
	}
	again.Close()
	slow.Close()
	http.DefaultClient.CloseIdleConnections()
	goleak.VerifyNone(t, before)
}

// Made to fail: with ":9187" shown as it is.
func TestURLCanBeOpened(t *testing.T) {
	t.Parallel()
	s, err := metrics.Serve(":0", metrics.New("dev"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !strings.HasPrefix(s.URL(), "http://localhost:") || !strings.HasSuffix(s.URL(), "/metrics") {
		t.Error(s.URL())
	}
	for _, wrong := range []string{"127.0.0.1:notaport", "203.0.113.1:0"} {
		if _, err := metrics.Serve(wrong, metrics.New("dev")); !errors.Is(err, backfill.ErrInput) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}
