package configs_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/configs"
	"github.com/pgbackfill/pgbackfill/internal/localpg"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// authority is a certificate that signs others.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{file: filepath.Join(t.TempDir(), "ca.pem")}
	of := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	text, _ := a.sign(t, of)
	if err := os.WriteFile(a.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// sign makes a certificate and its key, as PEM; the first is the authority's own.
func (a *authority) sign(t *testing.T, of *x509.Certificate) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	by, with := a.cert, a.key
	if by == nil {
		by, with = of, private
	}
	signed, err := x509.CreateCertificate(rand.Reader, of, by, &private.PublicKey, with)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert == nil {
		if a.cert, err = x509.ParseCertificate(signed); err != nil {
			t.Fatal(err)
		}
		a.key = private
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}

// With sslmode=verify-full a server is believed whose certificate names the host and is signed by the authority that was given,
// and no other: the error says which of the two it was, and what to do.
//
// Seen to fail: where both are wrong, with the authority expected and the name said.
func TestVerifyFull(t *testing.T) {
	t.Parallel()
	server := pgtest.Cluster(t, localpg.Options{Name: "tls"})
	db := pgtest.NewOn(t, server)
	ours, others := newAuthority(t, "our authority"), newAuthority(t, "another authority")
	cert, key := ours.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "db.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"db.example"},
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	for name, text := range map[string]string{"server.crt": cert, "server.key": key} {
		db.Exec(fmt.Sprintf("COPY (SELECT unnest(string_to_array('%s', E'\\n'))) TO PROGRAM 'umask 077 && cat > %s'", strings.TrimSpace(text), name))
	}
	db.Exec("ALTER SYSTEM SET ssl = on")
	db.Exec("SELECT pg_reload_conf()")
	dial := func(host, mode, root string) error {
		dsn := with(t, db.DSN(), func(u *url.URL) {
			u.Host = host + ":" + u.Port()
			u.RawQuery = url.Values{"sslmode": {mode}, "sslrootcert": {root}}.Encode()
		})
		connect, err := configs.Connector(newMachine(t, "--dsn", dsn).load())
		if err != nil {
			return err
		}
		conn, err := connect(t.Context())
		if err != nil {
			return err
		}
		var encrypted bool
		err = conn.QueryRow(t.Context(), "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").Scan(&encrypted)
		if err == nil && !encrypted {
			err = errors.New("it is not encrypted")
		}
		return errors.Join(err, conn.Close(t.Context()))
	}
	pgtest.Eventually(t, 30*time.Second, func() error { return dial("127.0.0.1", "verify-full", ours.file) })
	for _, c := range []struct{ host, mode, root, says string }{
		{"localhost", "verify-full", ours.file, "TLS: the server's certificate is not for localhost but for db.example, 127.0.0.1"},
		{"127.0.0.1", "verify-full", others.file, "TLS: the server's certificate is signed by an authority that is not trusted here"},
		{"localhost", "verify-ca", ours.file, ""},
		{"localhost", "verify-ca", others.file, "TLS: the server's certificate is signed by an authority that is not trusted here"},
	} {
		err := dial(c.host, c.mode, c.root)
		switch {
		case c.says == "" && err != nil:
			t.Errorf("%+v: %v", c, err)
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "sslrootcert") && !strings.Contains(err.Error(), "host")):
			t.Errorf("%+v: %v", c, err)
		}
		if err != nil {
			keepsQuiet(t, db.DSN(), err.Error())
		}
	}
}

// keepsQuiet asserts that the password of a connection string is not in a text.
func keepsQuiet(t *testing.T, dsn, text string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	if password, _ := u.User.Password(); password == "" || strings.Contains(text, password) {
		t.Errorf("the password is shown: %s", text)
	}
}
