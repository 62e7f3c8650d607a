package throttle

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// httpSignal is an address that must answer a GET with a 2xx status, as freno and most health checks do.
type httpSignal struct {
	address string
	client  *http.Client
}

func (httpSignal) Name() string { return "http" }
func (httpSignal) Class() Class { return Gating }

// parseAddress reads an address and says what of it may be shown: no password, and no query, since tokens stand there.
// An address that cannot be read is not repeated.
func parseAddress(address string) (shown string, err error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", errors.New("an address that is none; expected http:// or https:// with a host")
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String(), nil
}

func (s httpSignal) Read(ctx context.Context) (Reading, error) {
	shown, err := parseAddress(s.address)
	if err != nil {
		return Reading{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.address, nil)
	if err != nil {
		return Reading{}, fmt.Errorf("%s: no request can be made of it", shown)
	}
	answer, err := s.client.Do(request)
	if err != nil {
		var hides *url.Error // has the whole address in its text
		if errors.As(err, &hides) {
			err = hides.Err
		}
		return Reading{}, fmt.Errorf("%s: %w", shown, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 == 2 {
		return Reading{Says: "go", Detail: shown}, nil
	}
	return Reading{Says: "says no", Shut: true, Detail: fmt.Sprintf("%s: %s", shown, answer.Status)}, nil
}
