package configs

import (
	"context"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// applicationName is what a connection calls itself until its user says better.
const applicationName = "pgbackfill"

// cancelGrace is how long a statement has to end after its cancel request; then the
// connection is given up.
const cancelGrace = 5 * time.Second

// keepAlive finds a peer that is gone without a word within about half a minute.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// Connection reads how to reach the primary. A zero DSN leaves it to libpq's variables
// (PGHOST, PGSERVICE, …), and a password that is not in the DSN is taken from PGPASSWORD or
// .pgpass. Making a connection is bounded by the DSN's connect_timeout, else by
// [backfill.DefaultPace]'s.
//
// The connection works through PgBouncer in transaction mode: it prepares no named
// statements. A statement whose context ends is cancelled by the connection's own cancel
// request. A standby is refused, and of several hosts the primary is found, where the DSN does
// not ask for another with target_session_attrs.
//
// An error, of kind [backfill.ErrInput], shows nothing of the DSN.
func Connection(d DSN) (*pgx.ConnConfig, error) {
	return connection(d, backfill.DefaultPace.ConnectTimeout)
}

func connection(d DSN, connectTimeout time.Duration) (*pgx.ConnConfig, error) {
	if found := ambiguous(d.Reveal()); found != "" {
		return nil, malformed(d, found)
	}
	cc, err := pgx.ParseConfig(d.Reveal())
	if err != nil {
		found := whyMalformed(err)
		if port := os.Getenv("PGPORT"); found == badPort && !isPort(port) {
			return nil, &backfill.Error{Place: "PGPORT", Found: "it is no port", Expected: "a number from 1 to 65535", Remedy: "correct or unset PGPORT", Kind: backfill.ErrInput}
		}
		return nil, malformed(d, found)
	}
	if found := mislaid(&cc.Config); found != "" {
		return nil, malformed(d, found)
	}
	cc.DefaultQueryExecMode = pgx.QueryExecModeExec
	cc.StatementCacheCapacity = 0
	cc.DescriptionCacheCapacity = 0
	if cc.ConnectTimeout == 0 {
		cc.ConnectTimeout = connectTimeout
	}
	cc.DialFunc = (&net.Dialer{KeepAliveConfig: keepAlive}).DialContext
	if cc.RuntimeParams["application_name"] == "" {
		cc.RuntimeParams["application_name"] = applicationName
	}
	switch {
	case cc.ValidateConnect != nil:
		cc.ValidateConnect = pinned(cc.ValidateConnect)
	case !asksForSession(d.Reveal()):
		// A single name can lead to a standby too, for a moment after a failover. A server with
		// default_transaction_read_only is none: every transaction says that it writes.
		cc.ValidateConnect = primary
	}
	cc.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: cancelGrace}
	}
	return cc, nil
}

// primary refuses a standby. It is pgx's check with the function's schema: a search_path may have another of that name.
func primary(ctx context.Context, conn *pgconn.PgConn) error {
	results, err := conn.Exec(ctx, "SELECT pg_catalog.pg_is_in_recovery()").ReadAll()
	if err != nil {
		return err
	}
	if string(results[0].Rows[0][0]) == "t" {
		return pgconn.ErrStandbyConnection
	}
	return nil
}

// pinned has one of pgx's checks of a session, which name functions without their schema, see pg_catalog alone.
func pinned(check pgconn.ValidateConnectFunc) pgconn.ValidateConnectFunc {
	return func(ctx context.Context, conn *pgconn.PgConn) error {
		if _, err := conn.Exec(ctx, "BEGIN; SET LOCAL search_path TO pg_catalog, pg_temp").ReadAll(); err != nil {
			return err
		}
		err := check(ctx, conn)
		// Also where it says no: one that only prefers another server is content with this one in the end.
		if _, ended := conn.Exec(ctx, "ROLLBACK").ReadAll(); err == nil {
			err = ended
		}
		return err
	}
}

// asksForSession reports whether somebody said what kind of server it should be.
func asksForSession(dsn string) bool {
	return strings.Contains(dsn, "target_session_attrs") || os.Getenv("PGTARGETSESSIONATTRS") != ""
}

// hosts are the addresses of a configuration, each once, in order.
func hosts(c *pgconn.Config) []string {
	var list []string
	seen := map[string]bool{}
	add := func(host string, port uint16) {
		_, address := pgconn.NetworkAddress(host, port)
		if !seen[address] {
			seen[address] = true
			list = append(list, address)
		}
	}
	add(c.Host, c.Port)
	for _, f := range c.Fallbacks { // sslmode=prefer lists a host twice
		add(f.Host, f.Port)
	}
	return list
}

// malformed is the error of a connection string. It says nothing of what the string holds,
// and does not wrap pgx's error, which holds all of it: where a string is malformed nobody
// can say which part of it is the password.
func malformed(d DSN, found string) error {
	origin := d.Origin()
	if d.Reveal() == "" {
		origin = "libpq's PG* variables"
	}
	return &backfill.Error{
		Place: origin, Found: "the connection string is malformed: " + found,
		Expected: "postgres://user@host:5432/database or host=… user=… dbname=…",
		Remedy:   "in a URL write @ : / ? # % in a user or password as %40 %3A %2F %3F %23 %25; in keywords put quotes round a value with spaces",
		Kind:     backfill.ErrInput,
	}
}

// ambiguous says why a connection string can be read in more than one way, so that a part of
// a password could be taken for a host or a database and shown in an error; "" where it cannot.
func ambiguous(dsn string) string {
	rest, isURL := strings.CutPrefix(dsn, "postgres://")
	if !isURL {
		rest, isURL = strings.CutPrefix(dsn, "postgresql://")
	}
	if !isURL {
		if before, _, _ := strings.Cut(dsn, "="); strings.Contains(before, "://") {
			return "it begins like a URL, but not with postgres://"
		}
		return ""
	}
	authority, path := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	beforeQuery, _, _ := strings.Cut(path, "?")
	signs := strings.Count(authority, "@")
	switch {
	case signs > 1, strings.Contains(beforeQuery, "@"), strings.Contains(path, "#"),
		signs == 0 && strings.Contains(authority, ":") && strings.Contains(path, "@"):
		return "it has an @ or # that is not written %40 or %23, or a / or ? inside of a password"
	}
	return ""
}

var parameterName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*$`)

// mislaid says which part holds what looks like a whole address, password and all; "" is none.
func mislaid(c *pgconn.Config) string {
	address := func(s string) bool {
		return strings.Contains(s, "://") || strings.Contains(s, ":") && strings.Contains(s, "@")
	}
	for _, host := range hosts(c) {
		if strings.Contains(host, "@") {
			return "there is an @ in the host"
		}
	}
	switch {
	case address(c.User):
		return "the user looks like an address"
	case address(c.Database):
		return "the database looks like an address"
	}
	for name := range c.RuntimeParams {
		if !parameterName.MatchString(name) {
			return "a parameter has a name that no setting has"
		}
	}
	return ""
}

const badPort = "the port is not a number from 1 to 65535"

// isPort reports whether a value of PGPORT, a port or one for each host, can be used; none is said by "".
func isPort(text string) bool {
	if text == "" {
		return true
	}
	for one := range strings.SplitSeq(text, ",") {
		if n, err := strconv.ParseUint(one, 10, 16); err != nil || n == 0 {
			return false
		}
	}
	return true
}

// parseProblems are what pgx says of a connection string, by a part of its text, in words
// that show nothing of it.
var parseProblems = []struct{ text, found string }{
	{"sslmode is invalid", "sslmode is none of disable, allow, prefer, require, verify-ca, verify-full"},
	{"unable to read CA file", "the file of sslrootcert cannot be read"},
	{"unable to add CA", "the file of sslrootcert holds no certificate"},
	{"unable to read cert", "the file of sslcert cannot be read"},
	{"unable to load cert", "sslcert and sslkey do not belong together"},
	{"unable to read sslkey", "the file of sslkey cannot be read"},
	{"unable to decrypt key", "sslpassword does not open the file of sslkey"},
	{"unable to find sslpassword", "the file of sslkey wants an sslpassword"},
	{"both \"sslcert\" and \"sslkey\" are required", "sslcert and sslkey need each other"},
	{"failed to configure TLS", "its TLS settings do not fit together"},
	{"failed to read service file", "the service file cannot be read (PGSERVICEFILE, ~/.pg_service.conf)"},
	{"unable to find service", "the service is not in the service file (PGSERVICE)"},
	{"invalid port", badPort},
	{"port numbers to", "there are not as many ports as hosts"},
	{"connect_timeout", "connect_timeout is not a number of seconds"},
	{"unknown target_session_attrs", "target_session_attrs is none of any, read-write, read-only, primary, standby, prefer-standby"},
	{"channel_binding", "channel_binding is none of disable, prefer, require"},
	{"sslcertmode", "sslcertmode is none of disable, allow, require"},
	{"protocol_version", "its protocol versions do not fit together"},
	{"require_auth", "require_auth names no such method"},
	{"unterminated quoted string", "a quote is not closed"},
	{"failed to parse as keyword/value", "it is not a list of key=value"},
	{"failed to parse as URL", "it is not a URL"},
}

// whyMalformed says in words of our own what pgx does not like.
func whyMalformed(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, "`: "); i >= 0 { // what stands before is the string itself
		text = text[i:]
	}
	for _, p := range parseProblems {
		if strings.Contains(text, p.text) {
			return p.found
		}
	}
	return "it cannot be read"
}
