package verify_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/backfill/verify"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// Two databases are held against each other by counts and sums over ranges, down to the row: also rows that an exclusive or
// would take for none, and where the two write values in other ways by themselves. What keeps changing is hot, and no mismatch.
//
// Made to fail: with bit_xor in the place of sum, the pair at 12 is not found; with confirm taking what differs at once, the
// row that is replicated late is a mismatch; without pins in the other database, all dates are.
func TestAnotherDatabase(t *testing.T) {
	t.Parallel()
	here, there := pgtest.New(t), pgtest.New(t)
	const table = `CREATE TABLE things (id %s, v text, at timestamptz, f float8);
		INSERT INTO things SELECT g, 'v' || g, '2026-01-01'::timestamptz + g * interval '1 hour', g / 3.0::float8 FROM generate_series(1, 300) AS g;
		INSERT INTO things SELECT * FROM things WHERE id IN (12, 13); ANALYZE things; CREATE INDEX ON things (id)`
	here.Exec(fmt.Sprintf(table, "int NOT NULL"))
	there.Exec(fmt.Sprintf(table, "bigint NOT NULL") + fmt.Sprintf(`; ALTER DATABASE %q SET TimeZone = 'Asia/Tokyo'; ALTER DATABASE %[1]q SET DateStyle = 'German'; ALTER DATABASE %[1]q SET extra_float_digits = 0`, there.Name()))
	query := backfill.Expr{SQL: "SELECT x.id, x.v, x.at, x.f FROM things x WHERE {{range x}}", Templates: []string{"range x"}}
	j := job("things", commands(), backfill.Check{Name: "copy", Expected: &query, Actual: &query, In: "legacy"})
	j.Key = []string{"id"}
	with := func(o *verify.Options) {
		o.Databases = map[string]backfill.Connect{"legacy": dialing(there.DSN())}
		o.Still, o.Plan.Pace.ChunkRows = 20*time.Millisecond, 50
	}
	if _, err := verified(t, here.DSN(), j); !errors.Is(err, backfill.ErrInput) || !strings.Contains(err.Error(), "--database legacy=") {
		t.Errorf("of a database that nobody named: %v", err)
	}
	v, err := verified(t, here.DSN(), j, with)
	if err != nil || v.Result != verify.Proven || v.Checks[0].Expected != 302 || v.Checks[0].Actual != 302 {
		t.Fatalf("of two that are the same: %s, %+v, %v", v.Result, v.Checks, err)
	}
	here.Exec(`UPDATE things SET v = 'bad' WHERE id = 12; UPDATE things SET f = f + 1e-16 WHERE id = 1; UPDATE things SET v = 'v3 ' WHERE id = 3; DELETE FROM things WHERE id = 40;
		INSERT INTO things (id) VALUES (9000), (-4); DELETE FROM things WHERE ctid = (SELECT ctid FROM things WHERE id = 13 LIMIT 1)`)
	v, err = verified(t, here.DSN(), j, with)
	if want := []string{"different (1)", "different (12)", "different (3)", "extra (-4)", "extra (9000)", "missing (13)", "missing (40)"}; err != nil || !slices.Equal(found(v), want) {
		t.Errorf("found %q, want %q, %v", found(v), want, err)
	}
	here.Exec("DELETE FROM things; INSERT INTO things SELECT g, 'v' || g, '2026-01-01'::timestamptz + g * interval '1 hour', g / 3.0::float8 FROM generate_series(1, 300) AS g; INSERT INTO things SELECT * FROM things WHERE id IN (12, 13)")

	// An application writes here, and there a moment later.
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	first, second := here.Conn(), there.Conn()
	wait.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			sql := fmt.Sprintf("UPDATE things SET v = 'n%d' WHERE id = %d", n, 100+n%3)
			_, _ = first.Exec(context.Background(), sql)
			time.Sleep(2 * time.Millisecond)
			_, _ = second.Exec(context.Background(), sql)
		}
	})
	for range 3 {
		if v, err = verified(t, here.DSN(), j, with); err != nil || v.Mismatches() != 0 || v.Result == verify.Incomplete && v.Checks[0].Hot == 0 || v.Unresolved != (v.Checks[0].Hot > 0) {
			t.Errorf("while an application writes: %s, %q, %v", v.Result, found(v), err)
		}
	}
	cancel()
	wait.Wait()
	if v, err = verified(t, here.DSN(), j, with); err != nil || v.Result != verify.Proven {
		t.Errorf("when it is quiet: %s, %q, %v", v.Result, found(v), err)
	}
}

// A key of text is compared with another database only where both order it alike. Where ICU orders it there, which it may from PostgreSQL 15
// on, that is what is told, and not the locale of the C library, which means nothing then.
//
// Made to fail: by datcollate alone both are "C", and ranges of one are held against other rows of the other.
func TestAnotherDatabaseInAnotherOrder(t *testing.T) {
	t.Parallel()
	here := pgtest.New(t)
	name, order := here.Name()+"_icu", "LOCALE_PROVIDER icu ICU_LOCALE 'de' LOCALE 'C'"
	if here.Server().Installation().Major < 15 {
		order = "LOCALE 'C'"
	}
	here.Exec(fmt.Sprintf("CREATE DATABASE %q TEMPLATE template0 %s", name, order))
	admin := here.Conn()
	t.Cleanup(func() {
		if _, err := admin.Exec(context.Background(), fmt.Sprintf("DROP DATABASE %q WITH (FORCE)", name)); err != nil {
			t.Error(err)
		}
	})
	const table = "CREATE TABLE things (id text PRIMARY KEY, v text); INSERT INTO things VALUES ('a', '1'), ('B', '2'), ('c', '3')"
	here.Exec(table)
	there := pgtest.Connect(t, here.Server().DSN(name))
	if _, err := there.PgConn().Exec(t.Context(), table).ReadAll(); err != nil {
		t.Fatal(err)
	}
	query := backfill.Expr{SQL: "SELECT x.id, x.v FROM things x WHERE {{range x}}", Templates: []string{"range x"}}
	j := job("things", commands(), backfill.Check{Name: "copy", Expected: &query, Actual: &query, In: "other"})
	v, err := verified(t, here.DSN(), j, func(o *verify.Options) {
		o.Databases = map[string]backfill.Connect{"other": dialing(here.Server().DSN(name))}
	})
	if here.Server().Installation().Major < 15 {
		if err != nil || v.Result != verify.Proven {
			t.Errorf("%s, %v", v.Result, err)
		}
		return
	}
	for _, want := range []string{"the key id is ordered by a collation", "(C here, icu de there)", "whose collation is C"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q in it", err, want)
		}
	}
}
