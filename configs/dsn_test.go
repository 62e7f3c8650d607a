package configs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/configs"
)

// canary is a piece of every password in these tests: it must never be seen.
const canary = "S3cr3t"

func TestDSNIsNeverPrinted(t *testing.T) {
	t.Parallel()
	c := newMachine(t, "--dsn", "postgres://app:"+canary+"@db/shop").load()
	if !strings.Contains(c.DSN.Reveal(), canary) || c.DSN.Origin() != "--dsn" {
		t.Fatal("the connection string got lost")
	}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
		fmt.Fprintf(&out, verb+verb+verb+verb+"\n", c, &c, c.DSN, &c.DSN)
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "c", c, "d", c.DSN)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "c", c, "d", c.DSN)
	for _, shown := range []string{canary, fmt.Sprintf("%x", canary), "app:"} {
		if strings.Contains(strings.ToLower(out.String()), strings.ToLower(shown)) {
			t.Errorf("%q is shown in\n%s", shown, out.String())
		}
	}
	wants(t, out.String(), "(not shown, from --dsn)")
}

func TestDSNFromTheFirstPlaceThatSaysIt(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	origin := func() string { return m.load().DSN.Origin() }
	if got := m.load().DSN; got.Reveal() != "" {
		t.Errorf("got %q where nobody says it", got.Reveal())
	}
	file := m.write("work/pgbackfill.yaml", "# who\ndsn: postgres://file\n")
	if got := origin(); got != file+":2" {
		t.Errorf("file: %s", got)
	}
	m.env("DATABASE_URL=postgres://url")
	if got := origin(); got != "DATABASE_URL" {
		t.Errorf("DATABASE_URL over the file: %s", got)
	}
	m.env("PGBACKFILL_DSN=postgres://ours")
	if got := origin(); got != "PGBACKFILL_DSN" {
		t.Errorf("PGBACKFILL_DSN over DATABASE_URL: %s", got)
	}
	if err := m.sources.Flags.Parse([]string{"--dsn", "postgres://flag"}); err != nil {
		t.Fatal(err)
	}
	if got := m.load().DSN; got.Origin() != "--dsn" || got.Reveal() != "postgres://flag" {
		t.Errorf("--dsn over all: %s", got.Origin())
	}
}

// Connection strings that are wrong in a way that cuts the password in pieces. pgx's own
// errors show such pieces (13 of these, tried with pgx 5.12),
// and a piece that becomes a host, database or user is shown in the error of the connecting.
var malformed = []string{
	"postgres://app:S3cr3tA/S3cr3tB@127.0.0.1:1/db",
	"postgres://app:1/S3cr3tB@127.0.0.1:1/db",
	"postgres://app:1/3?S3cr3tB=4@127.0.0.1:1/db",
	"postgres://app:S3cr3tA@S3cr3tB@127.0.0.1:1/db",
	"postgres://app:S3cr3tA:S3cr3tB@127.0.0.1:1:2/db",
	"postgres://app:S3cr3tA#S3cr3tB@127.0.0.1:1/db",
	"postgres://app:12#S3cr3tB@127.0.0.1:1/db",
	"postgres://app:S3cr3tA?S3cr3tB@127.0.0.1:1/db",
	"postgres://app:S3cr3tA%zzS3cr3tB@127.0.0.1:1/db",
	"postgres://app:S3cr3tA S3cr3tB@127.0.0.1:1/db",
	"postgres://app:S3cr3tA@127.0.0.1:S3cr3tB/db",
	"postgres://app:S3cr3tA",
	"postgres://app:S3cr3tA@127.0.0.1:1/db?sslmode=S3cr3tB",
	"postgres://app:S3cr3tA@127.0.0.1:1/db?connect_timeout=S3cr3tB",
	"postgres://app:S3cr3tA@127.0.0.1:1/db?target_session_attrs=S3cr3tB",
	"postgres://app@127.0.0.1:1/db?password=S3cr3tA&sslmode=bad",
	"postgres:/app:S3cr3tA@127.0.0.1:1/db",
	"postgres//app:S3cr3tA@127.0.0.1:1/db",
	"postgresq://app:S3cr3tA@127.0.0.1:1/db?a=b",
	"jdbc:postgresql://127.0.0.1:1/db?user=app&password=S3cr3tA",
	"app:S3cr3tA@127.0.0.1:1/db",
	"host=app:S3cr3tA@127.0.0.1 port=1",
	"host=127.0.0.1 port=1 user=app:S3cr3tA@db",
	"host=127.0.0.1 port=1 dbname=postgres://app:S3cr3tA@db/x",
	"host=127.0.0.1 port=1 user=app password=S3cr3tA S3cr3tB",
	"host=127.0.0.1 port=1 user=app password='S3cr3tA",
	"host=127.0.0.1 port=1 user=app password=S3cr3tA'S3cr3tB x",
	"host=127.0.0.1 port=S3cr3tA user=app",
	"host=127.0.0.1 port=1 user=app password=S3cr3tA S3cr3tB!=x",
	"S3cr3tA",
}

func TestMalformedDSNShowsNothingOfThePassword(t *testing.T) {
	t.Parallel()
	for _, dsn := range malformed {
		cc, err := configs.Connection(configs.NewDSN(dsn, "--dsn"))
		if err == nil {
			t.Errorf("%s: accepted as user %q on %q database %q", dsn, cc.User, cc.Host, cc.Database)
			continue
		}
		if !errors.Is(err, backfill.ErrInput) {
			t.Errorf("%s: not an error of the input: %v", dsn, err)
		}
		for e := err; e != nil; e = errors.Unwrap(e) {
			if text := fmt.Sprintf("%v %+v %#v", e, e, e); strings.Contains(text, canary) {
				t.Errorf("%s: shows the password: %s", dsn, text)
			}
		}
		wants(t, err.Error(), "--dsn: the connection string is malformed: ", "\n  → ")
	}
}

func TestMalformedDSNSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for dsn, part := range map[string]string{
		"postgres://app@db:99999/x":                       "the port is not a number from 1 to 65535",
		"postgres://app@db/x?sslmode=on":                  "sslmode is none of disable",
		"postgres://app@db/x?connect_timeout=soon":        "connect_timeout is not a number of seconds",
		"postgres://a@h/x?target_session_attrs=no":        "target_session_attrs is none of",
		"host=a,b port=1,2,3":                             "there are not as many ports as hosts",
		"host=a password='x":                              "a quote is not closed",
		"app@db/x":                                        "it is not a list of key=value",
		"mysql://app@db/x?a=b":                            "not with postgres://",
		"service=nope servicefile=/dev/null":              "the service is not in the service file",
		"host=a sslrootcert=/nowhere sslmode=verify-full": "the file of sslrootcert cannot be read",
	} {
		_, err := configs.Connection(configs.NewDSN(dsn, "DATABASE_URL"))
		if err == nil {
			t.Errorf("%s: accepted", dsn)
			continue
		}
		wants(t, err.Error(), "DATABASE_URL: ", part)
	}
}

func TestConnectionIsMadeForPoolersAndFailovers(t *testing.T) {
	t.Parallel()
	read := func(dsn string) *pgx.ConnConfig {
		cc, err := configs.Connection(configs.NewDSN(dsn, "--dsn"))
		if err != nil {
			t.Fatal(err)
		}
		return cc
	}
	one := read("postgres://app@db/shop")
	if one.DefaultQueryExecMode != pgx.QueryExecModeExec || one.StatementCacheCapacity != 0 || one.DescriptionCacheCapacity != 0 {
		t.Error("named statements would be prepared, which PgBouncer in transaction mode does not have")
	}
	if one.ConnectTimeout != 10*time.Second || one.RuntimeParams["application_name"] != "pgbackfill" || one.ValidateConnect == nil {
		t.Errorf("one host: %v, %v, validated %v", one.ConnectTimeout, one.RuntimeParams, one.ValidateConnect != nil)
	}
	if cc := read("postgres://app@db/shop?connect_timeout=3&application_name=mine"); cc.ConnectTimeout != 3*time.Second || cc.RuntimeParams["application_name"] != "mine" {
		t.Errorf("what the string says is overruled: %v, %v", cc.ConnectTimeout, cc.RuntimeParams)
	}
	if read("host=a,b dbname=shop").ValidateConnect == nil {
		t.Error("of several hosts any would do, a standby too")
	}
	if read("host=a,b dbname=shop target_session_attrs=any").ValidateConnect != nil {
		t.Error("target_session_attrs=any is overruled")
	}
}
