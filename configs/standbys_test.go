package configs_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/configs"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// standbysOf is what is wrong with the standbys of a configuration, as it is loaded or used; "" is nothing.
func standbysOf(m *machine) string {
	c, err := configs.Load(m.sources)
	if err == nil {
		_, err = configs.Standbys(c)
	}
	if err == nil {
		return ""
	}
	return err.Error()
}

// What is wrong with a standby is said with its place, and with nothing of its connection string.
//
// Made to fail: with the texts of YAML's or pgx's errors in ours; without namesServer, a standby leads to PGHOST.
func TestStandbysThatAreNone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text  string
		parts []string
	}{
		{"standbys: eu-1\n", []string{"pgbackfill.yaml:1: ", "standbys is a single value", "a list of {name, dsn"}},
		{"standbys:\n  - eu-1\n", []string{":2: ", "an entry is a single value"}},
		{"standbys:\n  - name: eu-1\n    dns: postgres://u:secret-word@h/d\n", []string{":3: ", `unknown key "standbys.dns"`, "did you mean standbys.dsn?"}},
		{"standbys:\n  - {dsn: \"postgres://u:secret-word@h/d\"}\n", []string{":2: ", "an entry has no name"}},
		{"standbys:\n  - {name: eu-1}\n", []string{":2: ", "eu-1 has 0 ways to reach it", "dsn, or service"}},
		{"standbys:\n  - {name: eu-1, service: a, dsn: \"host=secret-word\"}\n", []string{"eu-1 has 2 ways"}},
		{"standbys:\n  - {name: eu-1, dsn: \"postgres://h/d\"}\n  - {name: eu-1, dsn: \"postgres://secret-word/d\"}\n", []string{":3: ", "eu-1 stands here a second time", "the first is at ", ":2"}},
		{"standbys:\n  - {name: eu-1, dsn: {variable: X}}\n", []string{":2: ", "{env: NAME}"}},
		{"standbys:\n  - {name: eu-1, dsn: {env: NOT_THERE}}\n", []string{":2: ", "the environment variable NOT_THERE is not set"}},
		{"standbys:\n  - {name: eu-1, dsn: \"postgres://u:secret-word@/d\"}\n", []string{":2: ", "names no server"}},
		{"standbys:\n  - {name: eu-1, dsn: \"user=u password=secret-word\"}\n", []string{":2: ", "names no server"}},
		{"standbys:\n  - {name: eu-1, dsn: \"postgres://u:secret-word@a,b/d?sslmode=disable\"}\n", []string{":2: ", "names several servers"}},
		{"standbys:\n  - {name: eu-1, dsn: {env: BAD}}\n", []string{":2 (BAD): ", "the port is not a number"}},
		{"standbys:\n  - {name: eu-1, service: nowhere}\n", []string{":2: ", "service"}},
		{"standbys:\n  - {name: eu-1, dsn: h, heartbeat: }\n", []string{":2: ", "standbys.heartbeat says nothing"}},
		{"", []string{"PGBACKFILL_STANDBYS", "standbys has a value that cannot be read"}},
	} {
		m := newMachine(t).env("BAD=postgres://u:secret-word@h:port/d")
		if c.text == "" {
			m.env("PGBACKFILL_STANDBYS=[{name: eu-1, dns: secret-word}]")
		}
		m.write("work/pgbackfill.yaml", c.text)
		found := standbysOf(m)
		wants(t, found, c.parts...)
		if strings.Contains(found, "secret-word") {
			t.Errorf("it shows the connection string:\n%s", found)
		}
	}
}

// Standbys of all places count, and the operator's stand; they are connected to although they are none.
//
// Made to fail: with only the first file's list, a file beside the job takes the operator's away.
func TestStandbysOfAllPlaces(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	m := newMachine(t).env("HERE="+server.DSN("postgres"), `PGBACKFILL_STANDBYS=[{name: by-env, dsn: {env: HERE}}]`)
	m.write("etc/config.yaml", "standbys: [{name: one, dsn: {env: HERE}, heartbeat: SELECT 1}]\n")
	m.write("work/pgbackfill.yaml", "standbys:\n  - {name: one, dsn: \"postgres://nobody@127.0.0.1:1/none\"}\n  - {name: two, dsn: {env: HERE}}\n")
	list, err := configs.Standbys(m.load())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var names []string
	for _, s := range list {
		names = append(names, s.Name+s.Heartbeat)
		conn, err := s.Connect(ctx)
		if err != nil {
			t.Errorf("%s: %v", s.Name, err)
			continue
		}
		var port int
		if err := conn.QueryRow(ctx, "SELECT current_setting('port')::int", pgx.QueryExecModeSimpleProtocol).Scan(&port); err != nil || port != server.Port() {
			t.Errorf("%s is at port %d: %v", s.Name, port, err)
		}
		conn.Close(ctx)
	}
	if got := strings.Join(names, ", "); got != "oneSELECT 1, by-env, two" {
		t.Errorf("the standbys are %s", got)
	}
}
