package throttle_test

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/throttle"
)

// receiver takes the log as pg_receivewal does: it keeps it, and replays nothing.
func receiver(t *testing.T, dsn string) *pgconn.PgConn {
	t.Helper()
	config, err := pgconn.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["replication"], config.RuntimeParams["application_name"] = "true", "pg_receivewal"
	conn, err := pgconn.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx) // in the midst of a stream there is no orderly end
	})
	return conn
}

// Made to fail: without the case of a receiver that has replied and replays nothing, an archive by pg_receivewal shuts
// the gate for ever; without that of one that has said nothing, a standby that has just connected is no standby.
func TestReceiverThatReplaysNothing(t *testing.T) {
	t.Parallel()
	c := serverOf(t)
	db := pgtest.NewOn(t, c)
	limits := off()
	limits.Lag = throttle.LagLimits{}
	th := run(t, db.DSN(), throttle.Options{Limits: limits})
	open(t, th)
	if s := one(th, "replica_lag"); s.Text != "replica_lag off (no standby is connected)" {
		t.Errorf("%+v", s)
	}
	conn := receiver(t, c.DSN("postgres"))
	place := pgtest.One[string](db, "SELECT pg_current_wal_flush_lsn()::text")
	conn.Frontend().SendQuery(&pgproto3.Query{String: "START_REPLICATION PHYSICAL " + place})
	if err := conn.Frontend().Flush(); err != nil {
		t.Fatal(err)
	}
	shut(t, th, "replica_lag unknown (standby pg_receivewal has not yet said how far it is)")
	status := make([]byte, 1+8+8+8+8+1) // written, flushed, applied, time, whether to reply
	status[0] = 'r'
	binary.BigEndian.PutUint64(status[1:], 1<<24)
	binary.BigEndian.PutUint64(status[9:], 1<<24)
	binary.BigEndian.PutUint64(status[25:], 1)
	conn.Frontend().Send(&pgproto3.CopyData{Data: status})
	if err := conn.Frontend().Flush(); err != nil {
		t.Fatal(err)
	}
	open(t, th)
	if got := th.Replicas(); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}
