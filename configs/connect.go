package configs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// Connector makes connections as the configuration says (see [Connection] and [Dial]), within
// its timeouts.connect.
func Connector(c Config) (backfill.Connect, error) {
	cc, err := connection(c.DSN, c.asked.Over(c.base).ConnectTimeout)
	if err != nil {
		return nil, err
	}
	return Dial(cc), nil
}

// ReadingConnector is [Connector] for who only reads: where no primary answers, and nothing says what kind of server it should
// be, a standby will do. onStandby is told of it.
func ReadingConnector(c Config, onStandby func()) (backfill.Connect, error) {
	cc, err := connection(c.DSN, c.asked.Over(c.base).ConnectTimeout)
	if err != nil {
		return nil, err
	}
	primary := Dial(cc)
	if asksForSession(c.DSN.Reveal()) {
		return primary, nil
	}
	cc = cc.Copy()
	cc.ValidateConnect = nil
	standby := Dial(cc)
	return func(ctx context.Context) (*pgx.Conn, error) {
		conn, err := primary(ctx)
		if !errors.Is(err, pgconn.ErrStandbyConnection) {
			return conn, err
		}
		if conn, err = standby(ctx); err == nil {
			onStandby()
		}
		return conn, err
	}, nil
}

// Dial makes connections as cc says, each with a copy of its own. Its errors name the place
// (hosts, database, user), what was found and what to do, and show no password; what the
// server or the network said can still be had by errors.As.
func Dial(cc *pgx.ConnConfig) backfill.Connect {
	return func(ctx context.Context) (*pgx.Conn, error) {
		conn, err := pgx.ConnectConfig(ctx, cc.Copy())
		if err == nil {
			return supported(ctx, cc, conn)
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil, ctx.Err()
		}
		return nil, connectError(cc, err)
	}
}

// supported gives the connection where its server is no older than it may be, and closes it where it is.
func supported(ctx context.Context, cc *pgx.ConnConfig, conn *pgx.Conn) (*pgx.Conn, error) {
	err := backfill.Supported(conn.PgConn())
	if err == nil {
		return conn, nil
	}
	if made := new(backfill.Error); errors.As(err, &made) {
		made.Place = placeOf(cc)
	}
	_ = conn.Close(context.WithoutCancel(ctx)) // nobody uses it
	return nil, err
}

func placeOf(cc *pgx.ConnConfig) string {
	return fmt.Sprintf("database %q on %s as %s", cc.Database, strings.Join(hosts(&cc.Config), ", "), cc.User)
}

// refusal is why there is no connection, in our words over the cause.
type refusal struct {
	text  string
	cause error
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.cause }

func connectError(cc *pgx.ConnConfig, err error) error {
	var said []string
	remedy := ""
	for _, one := range telling(cc, attempts(err)) {
		text, todo := explain(cc, one)
		if !slices.Contains(said, text) {
			said = append(said, text)
		}
		if remedy == "" {
			remedy = todo
		}
	}
	made := &backfill.Error{
		Place: placeOf(cc), Found: "cannot connect", Remedy: remedy,
		Err: &refusal{text: strings.Join(said, "; "), cause: err},
	}
	if len(said) == 1 && errors.Is(err, pgconn.ErrStandbyConnection) {
		made.Kind = backfill.ErrInput // the wrong server was named
	}
	return made
}

// attempts are the errors of the single hosts, the server's answers first: a server that
// refused says more than a host that was not there.
func attempts(err error) []error {
	list := []error{err}
	for e := err; e != nil; e = errors.Unwrap(e) {
		if joined, ok := e.(interface{ Unwrap() []error }); ok {
			list = joined.Unwrap()
			break
		}
	}
	answered := func(e error) bool {
		var server *pgconn.PgError
		return errors.As(e, &server) || errors.Is(e, pgconn.ErrStandbyConnection) || errors.Is(e, pgconn.ErrReadOnlyConnection)
	}
	slices.SortStableFunc(list, func(a, b error) int {
		switch {
		case answered(a) && !answered(b):
			return -1
		case answered(b) && !answered(a):
			return 1
		}
		return 0
	})
	return list
}

// telling leaves out that the server offers no TLS where that was an offer and no demand
// (sslmode=prefer), and was followed by an attempt without: what came of that is the reason.
func telling(cc *pgx.ConnConfig, list []error) []error {
	optional := cc.TLSConfig == nil || slices.ContainsFunc(cc.Fallbacks, func(f *pgconn.FallbackConfig) bool { return f.TLSConfig == nil })
	if !optional {
		return list
	}
	others := slices.DeleteFunc(slices.Clone(list), noTLS)
	if len(others) == 0 {
		return list
	}
	return others
}

// noTLS reports whether a server said that it does not speak TLS.
func noTLS(err error) bool { return strings.Contains(err.Error(), "server refused TLS connection") }

// explain says what was found and what to do about it.
func explain(cc *pgx.ConnConfig, err error) (found, remedy string) {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return explainServer(cc, server)
	}
	var dns *net.DNSError
	var authority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var certificate *tls.CertificateVerificationError
	var timeout net.Error
	switch {
	case errors.Is(err, pgconn.ErrStandbyConnection):
		return "the server is a standby, which cannot be written to",
			"connect to the primary: name its host, or all hosts with target_session_attrs=read-write"
	case errors.Is(err, pgconn.ErrReadOnlyConnection):
		return "it is read-only, a standby or a server with default_transaction_read_only",
			"name the primary, or all hosts of the cluster: host=a,b,c"
	case errors.As(err, &dns):
		return fmt.Sprintf("the name %q is not known to DNS", dns.Name), "correct the host, or look whether DNS answers here"
	case errors.As(err, &hostname):
		return fmt.Sprintf("TLS: the server's certificate is not for %s but for %s", hostname.Host, namesOf(hostname.Certificate)), "name the host as the certificate does, or have the server's certificate name this host"
	case errors.As(err, &authority):
		return "TLS: the server's certificate is signed by an authority that is not trusted here", "give the authority's certificate as sslrootcert"
	case errors.As(err, &certificate):
		return "TLS: the server's certificate is not trusted: " + certificate.Err.Error(), "give the authority's certificate as sslrootcert; look whether the certificate has expired"
	case noTLS(err):
		return "the server does not offer TLS, and sslmode asks for it", "switch ssl on in the server, or say sslmode=disable where the network is trusted"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there (connection refused)", "start the server, or correct host and port"
	case errors.Is(err, fs.ErrNotExist):
		return "there is no server's socket", "start the server, or correct the folder and the port of the socket"
	case errors.Is(err, os.ErrPermission):
		return "the server's socket may not be opened (permission denied)", "run as a user who may, or connect by TCP"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no way to that network", "correct the host, or look at routes and VPN"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Sprintf("no answer within %v", cc.ConnectTimeout), "look at host, port and firewall, or raise timeouts.connect"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return "the server closed the connection before it was made", "look whether this is PostgreSQL's port, and into the server's log"
	case strings.Contains(err.Error(), "tls error"):
		return "the TLS handshake failed", "look at sslmode, and into the server's log"
	}
	var errno syscall.Errno // the operating system's own words hold nothing of the connection string
	if errors.As(err, &errno) {
		return "the connection was not made: " + errno.Error(), "look at host, port, routes and firewall"
	}
	return "the connection was not made", "look into the server's log"
}

// namesOf are the hosts that a certificate is for.
func namesOf(c *x509.Certificate) string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "no host"
	}
	return strings.Join(names, ", ")
}

// explainServer says what the server answered. Messages about settings are left out: a
// setting's name or value may be a piece of a connection string that was cut wrongly.
func explainServer(cc *pgx.ConnConfig, e *pgconn.PgError) (found, remedy string) {
	switch e.Code {
	case "28P01":
		if cc.Password == "" {
			return fmt.Sprintf("the server wants a password for user %q and none was given", cc.User), "put it into ~/.pgpass (mode 0600) or PGPASSWORD"
		}
		return fmt.Sprintf("the password of user %q was refused", cc.User), "correct it where it comes from: the connection string, PGPASSWORD or ~/.pgpass"
	case "28000":
		return fmt.Sprintf("user %q is not let in: %s", cc.User, e.Message), "create the role with LOGIN, or let it in by pg_hba.conf"
	case "3D000":
		return fmt.Sprintf("there is no database %q", cc.Database), "correct the database's name"
	case "42501":
		return fmt.Sprintf("user %q may not connect to database %q", cc.User, cc.Database), fmt.Sprintf("GRANT CONNECT ON DATABASE %s TO %s", pgx.Identifier{cc.Database}.Sanitize(), pgx.Identifier{cc.User}.Sanitize())
	case "53300":
		return "the server has no connection left: " + e.Message, "use fewer workers, or raise max_connections or the role's limit"
	case "57P03":
		return "the server does not take connections now: " + e.Message, "wait until it has started"
	}
	if e.Code == "08P01" && e.Routine == "" && !strings.HasPrefix(e.Message, "unsupported startup parameter") {
		// PgBouncer has this code for all that it says, and tells no routine.
		return "a connection pooler answers for the server: " + e.Message, "look whether it reaches the server and may connect, and into its log"
	}
	if strings.HasPrefix(e.Code, "22") || strings.HasPrefix(e.Code, "42") || strings.HasPrefix(e.Code, "08P") {
		return fmt.Sprintf("the server refuses a setting of the connection string (SQLSTATE %s)", e.Code), "look at the parameters of the connection string and at PGOPTIONS"
	}
	return fmt.Sprintf("the server answers: %s (SQLSTATE %s)", e.Message, e.Code), "look into the server's log"
}

// DatabaseConnector makes connections to another database, which a job calls by name. The text is a connection string, or
// env: and the name of an environment variable that holds one; origin is where it was said. It need not be a primary, and
// nothing of it is shown.
func DatabaseConnector(c Config, name, text, origin string) (backfill.Connect, error) {
	if variable, ok := strings.CutPrefix(text, "env:"); ok {
		text, origin = c.variable(variable), origin+" ("+variable+")"
	}
	if !namesServer(text) {
		return nil, &backfill.Error{
			Place: origin, Found: "database " + name + ": its connection string names no server", Expected: "postgres://user@host:5432/database, host=… user=… dbname=…, service=… or env:VARIABLE",
			Kind: backfill.ErrInput,
		}
	}
	cc, err := connection(NewDSN(text, origin), c.asked.Over(c.base).ConnectTimeout)
	if err != nil {
		return nil, err
	}
	if !strings.Contains(text, "target_session_attrs") { // what PGTARGETSESSIONATTRS says is about the primary
		cc.ValidateConnect = nil
	}
	return Dial(cc), nil
}
