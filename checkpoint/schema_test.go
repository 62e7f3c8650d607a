package checkpoint

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

func TestSchemaGoesUpAndDownAndUpAgain(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	conn := db.Conn()
	for range 2 {
		if _, err := Status(t.Context(), conn); !errors.Is(err, backfill.ErrNotFound) {
			t.Fatalf("before the installation: %v", err)
		}
		if err := Install(t.Context(), conn, InstallOptions{Version: "1.2.3"}); err != nil {
			t.Fatal(err)
		}
		status, err := Status(t.Context(), conn)
		if err != nil || status.Version != Latest() || status.Applied[0].ToolVersion != "1.2.3" {
			t.Fatalf("after the installation: %+v, %v", status, err)
		}
		if err := Install(t.Context(), conn, InstallOptions{}); err != nil {
			t.Fatalf("a second time: %v", err)
		}
		undescribed := pgtest.All[string](db, `SELECT c.relname::text FROM pg_class c
			WHERE c.relnamespace = 'pgbackfill'::regnamespace AND c.relkind = 'r' AND obj_description(c.oid) IS NULL`)
		if len(undescribed) > 0 {
			t.Errorf("tables without a comment: %q", undescribed)
		}
		if err := Remove(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
		if n := pgtest.One[int](db, `SELECT count(*) FROM pg_namespace WHERE nspname = 'pgbackfill'`); n != 0 {
			t.Fatal("the schema is still there")
		}
	}
	if err := Upgrade(t.Context(), conn, InstallOptions{}); !errors.Is(err, backfill.ErrNotFound) {
		t.Errorf("upgrading what is not there: %v", err)
	}
}

// The printed SQL must make what Install makes, or the user's migration tool makes something else.
func TestPrintedSQLMakesTheSameSchema(t *testing.T) {
	t.Parallel()
	const shape = `SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || COALESCE(column_default, '')
		FROM information_schema.columns WHERE table_schema = 'pgbackfill' ORDER BY 1`
	printed := pgtest.New(t)
	var up strings.Builder
	if err := SQL(&up, "1.0.0"); err != nil {
		t.Fatal(err)
	}
	printed.Exec(up.String())
	if _, err := Status(t.Context(), printed.Conn()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(pgtest.All[string](installed(t), shape), pgtest.All[string](printed, shape)); diff != "" {
		t.Error(diff)
	}
	var down strings.Builder
	if err := SQLDown(&down); err != nil {
		t.Fatal(err)
	}
	printed.Exec(down.String())
	if _, err := Status(t.Context(), printed.Conn()); !errors.Is(err, backfill.ErrNotFound) {
		t.Errorf("after the printed removal: %v", err)
	}
}

func TestEightInstallAtOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		conn := db.Conn()
		wg.Go(func() { errs[i] = Install(t.Context(), conn, InstallOptions{}) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if n := pgtest.One[int](db, `SELECT count(*) FROM pgbackfill.migrations`); n != Latest() {
		t.Errorf("%d versions are recorded, want %d", n, Latest())
	}
}

func TestSchemaThatCannotBeWorkedWith(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, sql string
		kind      error
		says      []string
	}{
		{
			"newer", fmt.Sprintf(`INSERT INTO pgbackfill.migrations VALUES (%d, 'future', DEFAULT, DEFAULT, '9.0.0')`, Latest()+1), backfill.ErrIncompatible,
			[]string{fmt.Sprintf("version %d, made by pgbackfill 9.0.0", Latest()+1), fmt.Sprintf("expected at most version %d", Latest()), "newer version of pgbackfill"},
		},
		{"table missing", `DROP TABLE pgbackfill.chunks`, backfill.ErrUnreadable, []string{"damaged", "the table chunks is missing", "backup"}},
		{"versions missing", `DROP TABLE pgbackfill.migrations`, backfill.ErrUnreadable, []string{"no table migrations", "backup"}},
		{"versions empty", `DELETE FROM pgbackfill.migrations`, backfill.ErrUnreadable, []string{"table migrations is empty"}},
		{"versions of another", `ALTER TABLE pgbackfill.migrations DROP COLUMN tool_version`, backfill.ErrUnreadable, []string{"cannot be read"}},
		{"gone", `DROP SCHEMA pgbackfill CASCADE`, backfill.ErrNotFound, []string{"not installed", "pgbackfill schema install"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			db := installed(t)
			db.Exec(tc.sql)
			_, err := Open(t.Context(), connecting(db.DSN()), Options{})
			wants(t, err, tc.says...)
			for _, kind := range []error{backfill.ErrIncompatible, backfill.ErrUnreadable, backfill.ErrNotFound} {
				if errors.Is(err, kind) != (kind == tc.kind) {
					t.Errorf("errors.Is(%v, %v) is %t", err, kind, kind != tc.kind)
				}
			}
			if tc.kind != backfill.ErrNotFound {
				if err := Install(t.Context(), db.Conn(), InstallOptions{}); !errors.Is(err, tc.kind) {
					t.Errorf("installing over it: %v", err)
				}
			}
		})
	}
}

// ⚑ A publication FOR ALL TABLES takes the ledger along, and a subscriber that lacks it stops at
// its first row. Made to fail by taking unpublished out of migrate: the schema was installed.
func TestPublicationsRefuseTheInstallation(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, sql string }{
		{"all tables", `CREATE PUBLICATION "Every thing" FOR ALL TABLES`},
		{"the schema", `CREATE SCHEMA pgbackfill; CREATE PUBLICATION "Every thing" FOR TABLES IN SCHEMA pgbackfill`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			if tc.name == "the schema" && pgtest.One[int](db, `SELECT current_setting('server_version_num')::int`) < 150000 {
				return // it is new in version 15
			}
			db.Exec(tc.sql)
			err := Install(t.Context(), db.Conn(), InstallOptions{})
			wants(t, err, `"Every thing"`, "subscriber", "--accept schema-published")
			if !errors.Is(err, backfill.ErrInput) {
				t.Errorf("%v is not an ErrInput", err)
			}
			if n := pgtest.One[int](db, `SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('pgbackfill')`); n != 0 {
				t.Errorf("%d relations were made nonetheless", n)
			}
			if err := Install(t.Context(), db.Conn(), InstallOptions{AcceptPublications: true}); err != nil {
				t.Errorf("accepted: %v", err)
			}
		})
	}
}

func TestInstallationWithoutTheRight(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	role, dsn := db.Role("")
	err := Install(t.Context(), pgtest.Connect(t, dsn), InstallOptions{})
	wants(t, err, role, "GRANT CREATE ON DATABASE", db.Name(), "pgbackfill schema sql")

	db.Exec(`CREATE SCHEMA pgbackfill AUTHORIZATION ` + role) // by somebody who may
	if err := Install(t.Context(), pgtest.Connect(t, dsn), InstallOptions{}); err != nil {
		t.Errorf("into the empty schema that was made for the role: %v", err)
	}
}

func TestGrantsAreEnoughForARunner(t *testing.T) {
	t.Parallel()
	db := installed(t)
	role, dsn := db.Role("")
	_, err := Open(t.Context(), connecting(dsn), Options{})
	wants(t, err, "may not use it", "pgbackfill schema grants ROLE")
	if !errors.Is(err, backfill.ErrUnreadable) {
		t.Fatalf("without grants: %v", err)
	}
	db.Exec(Grants(role))
	s, err := Open(t.Context(), connecting(dsn), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	conn := pgtest.Connect(t, dsn)
	run := create(t, s, planned("granted", 10, 20))
	if _, err := run.Beat(t.Context(), backfill.Beat{Segments: []int{1}}); err != nil {
		t.Error(err)
	}
	if err := run.SetState(t.Context(), backfill.StateRunning, ""); err != nil {
		t.Error(err)
	}
	appendTo(t, conn, run, chunk(1, 1, -1, 5))
	if ok, err := run.Split(t.Context(), segmentsOf(t, run, backfill.PassWalk)[1], key(7)); !ok || err != nil {
		t.Errorf("split: %t, %v", ok, err)
	}
	appendTo(t, conn, run, chunk(2, 1, 10, 20), chunk(3, 1, 5, 7), chunk(4, 1, 7, 10))
	if ok, err := run.Advance(t.Context(), backfill.PassWalk, backfill.PassTail, nil); !ok || err != nil {
		t.Errorf("advance: %t, %v", ok, err)
	}
	if _, err := run.Cuts(t.Context(), backfill.PassWalk, 10); err != nil {
		t.Error(err)
	}
	if err := ends(t, run); err != nil {
		t.Error(err)
	}
	if err := run.Leave(t.Context()); err != nil {
		t.Error(err)
	}
	if err := create(t, s, planned("granted", 10)).Cancel(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestRemovalIsRefusedWhileARunIsUnfinished(t *testing.T) {
	t.Parallel()
	db := installed(t)
	s := open(t, db, Options{})
	run := create(t, s, planned("nightly", 10))
	err := Remove(t.Context(), db.Conn())
	wants(t, err, "run 1 of nightly (planned)", "pgbackfill cancel nightly")
	if err := run.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := Remove(t.Context(), db.Conn()); err != nil {
		t.Fatal(err)
	}
	_, err = run.Beat(t.Context(), backfill.Beat{})
	if !errors.Is(err, backfill.ErrNotFound) {
		t.Errorf("a heartbeat after the removal: %v", err)
	}
	wants(t, err, "pgbackfill schema install")
}
