package configs

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// FuzzFile checks that any bytes are a configuration, or errors that name the file; a value of dsn is in none of them.
func FuzzFile(f *testing.F) {
	for _, text := range []string{
		Default, "", "workers: 3\n---\nrate: 1\n", "ceilings: {workers: 1, timeouts: {lock: 1s}}\n", "dsn: postgres://a:b@c/d\n", "dsn: [cAnArY]\n", "dsn: {cAnArY: x}\n",
		"databases: {old: 'host=a password=b'}\nstandbys: {eu: {dsn: x}}\n", "a: &a [*a]\n", "{", "- 1\n", "log: {format: json, level: loud}\nmetrics: :9187\naccept: [a, b]\n", "dsn: 'postgres://a:cAnArY\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		says, err := parseFile("f.yaml", text)
		if err == nil {
			for name, origin := range says.origin {
				if !strings.HasPrefix(origin, "f.yaml:") {
					t.Fatalf("%s stands at %q", name, origin)
				}
			}
			return
		}
		if !errors.Is(err, backfill.ErrInput) || !strings.Contains(err.Error(), "f.yaml") {
			t.Fatalf("%v is no error of the file", err)
		}
	})
}

// FuzzLimits checks that any limits are a pace within its bounds, or an error.
func FuzzLimits(f *testing.F) {
	for _, k := range LimitKeys() {
		for _, value := range []string{"5", "5k", "1.5M/s", "250ms", "3s", "off", "0", "auto", "256MiB", "-1", "1e309", "NaN", "Infinity", "9223372036854775808ns", "Mon-Fri 22:00-06:00 Europe/Berlin"} {
			f.Add(k, value)
		}
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		p, err := ParseLimits([]string{key + "=" + value})
		if err != nil {
			if !errors.Is(err, backfill.ErrInput) {
				t.Fatalf("%v is no ErrInput", err)
			}
			return
		}
		if p.Workers < 0 || p.Workers > 1000 || p.Rate != p.Rate || p.Rate > mostRate || p.ChunkRows > mostRows || p.ChunkMaxRows > mostRows {
			t.Fatalf("%s=%s is %+v", key, value, p)
		}
		for _, d := range []time.Duration{p.ChunkTarget, p.LockTimeout, p.StatementTimeout, p.IdleTimeout, p.ConnectTimeout} {
			if d > mostDuration || d < -1 {
				t.Fatalf("%s=%s is %s", key, value, d)
			}
		}
		if again, err := ParseLimits([]string{" " + key + " = " + value + " "}); err != nil || !cmp.Equal(again, p) {
			t.Fatalf("with spaces %s=%s is %+v, %v", key, value, again, err)
		}
	})
}

// FuzzConnection checks that of a connection string's password nothing is shown: not by the error that it cannot be read, not by any
// way to print it. The password is put into whatever is tried, as a URL and as keywords.
func FuzzConnection(f *testing.F) {
	for _, around := range [][2]string{
		{"postgres://app:", "@db:5432/shop?sslmode=disable"},
		{"postgres://app:", "@[::1/shop"},
		{"postgres://app:", "/x@db/shop"},
		{"postgresql://", "@db"},
		{"host=db user=app password=", " dbname=shop"},
		{"password='", "' host=db port=x"},
		{"pasword=", ""},
		{"password = ", " sslmode=often"},
		{"postgres://a:b@c/d?password=", "&port=99999"},
		{"postgres://a:b@c,d:", "/e"},
		{"postgres://a:b@c/d?", "=x"},
		{"", ""},
		{"host=a user=", ""},
		{"postgres://a@b/c?sslpassword=", "&sslkey=/nowhere&sslcert=/nowhere"},
	} {
		f.Add(around[0], "cAnArY%41'\\ @/", around[1])
		f.Add(around[0], "plain", around[1])
	}
	for _, name := range []string{"PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGSERVICE", "PGSSLMODE"} {
		f.Setenv(name, "") // so that it is put back
		if err := os.Unsetenv(name); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, before, tail, after string) {
		const secret = "cAnArY0secret"
		for _, password := range []string{secret + tail, secret + url.QueryEscape(tail)} {
			d := NewDSN(before+password+after, "--dsn")
			shown := fmt.Sprintf("%v %+v %#v %s %q %x", d, d, d, d, d, d)
			text, _ := d.MarshalText()
			cc, err := Connection(d)
			if err != nil {
				if !errors.Is(err, backfill.ErrInput) {
					t.Fatalf("%T is no ErrInput", err)
				}
				shown += fmt.Sprintf("%v %+v %#v", err, err, err)
				for e := err; e != nil; e = errors.Unwrap(e) {
					shown += fmt.Sprintf("%v %+v", e, e)
				}
			} else if cc.Password != "" && !strings.Contains(before+after+secret, secret[:3]) {
				t.Fatal("the password is not the one that was said")
			}
			if shown += string(text); strings.Contains(shown, secret) || strings.Contains(shown, fmt.Sprintf("%x", secret)) {
				t.Fatalf("shown of %q: %s", d.Reveal(), shown)
			}
		}
	})
}
