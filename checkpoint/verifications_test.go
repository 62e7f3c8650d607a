package checkpoint

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/backfill/verify"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// interrupting ends a verification before its part of that number.
type interrupting struct {
	parts int
	end   context.CancelFunc
}

func (i *interrupting) Wait(ctx context.Context, _ int) error {
	if i.parts--; i.parts == 0 {
		i.end()
	}
	return ctx.Err()
}

// A verification goes on only where all of its checks are the ones that it began with, and could be read or not as they were
// then: else what nobody has read would be proven.
//
// Made to fail: with Unread left out of verify's hash the check of the copies is gone on with and has no range, and the wrong copy
// is not told; with Asked left out of it, and the check's SQL another one, what was read for the first is taken as read for the second.
func TestAVerificationGoesOnOnlyWithTheSameChecks(t *testing.T) {
	t.Parallel()
	db := installed(t)
	role, dsn := db.Role("")
	db.Exec(`CREATE TABLE things (id int PRIMARY KEY, v text, c text); INSERT INTO things SELECT g, 'v' || g, 'V' || g FROM generate_series(1, 100) AS g;
		CREATE TABLE copies AS SELECT id, v FROM things; UPDATE copies SET v = 'wrong' WHERE id = 3; ANALYZE`)
	db.Exec("GRANT SELECT ON things, copies TO " + role + "; ALTER TABLE copies ENABLE ROW LEVEL SECURITY") // which it may not see all of
	store := open(t, db, Options{})
	none := func(name, sql string) backfill.Check {
		return backfill.Check{Name: name, None: &backfill.Expr{SQL: sql, Templates: []string{"range c"}}}
	}
	verified := func(parts int, checks ...backfill.Check) (verify.Verdict, error) {
		t.Helper()
		job := backfill.Job{
			Name: "same", Table: backfill.TableName{Schema: "public", Name: "things"}, Idempotent: true, Verify: checks, Origin: "same.yaml",
			Steps: []backfill.Step{{Name: "update", Update: &backfill.Update{Set: []backfill.Assignment{{Column: "c", Value: backfill.Expr{SQL: "upper(t.v)", Columns: []string{"t.v"}}}}}}},
		}
		list, err := verify.Checks(job)
		if err != nil {
			t.Fatal(err)
		}
		var planner backfill.Planner
		plan, err := planner.Survey(t.Context(), pgtest.Connect(t, dsn), job, backfill.Pace{Workers: 1, ChunkRows: 10, LockTimeout: time.Second, StatementTimeout: time.Minute, IdleTimeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		return verify.Verify(ctx, verify.Options{Plan: plan, Checks: list, Connect: connecting(dsn), Record: store.Verifications(false), Throttle: &interrupting{parts, cancel}})
	}
	things, copies := none("things", "SELECT c.id FROM things c WHERE {{range c}} AND c.c IS NULL"), none("copies", "SELECT c.id FROM copies c WHERE {{range c}} AND c.v = 'wrong'")
	if _, err := verified(5, things, copies); !errors.Is(err, backfill.ErrInterrupted) {
		t.Fatal(err)
	}
	db.Exec("ALTER TABLE copies DISABLE ROW LEVEL SECURITY")
	if v, err := verified(0, things, copies); err != nil || v.Result != verify.Mismatched || v.Mismatches() != 1 {
		t.Errorf("what it could not read first: %s, %d wrong, %v", v.Result, v.Mismatches(), err)
	}
	if _, err := verified(5, things); !errors.Is(err, backfill.ErrInterrupted) {
		t.Fatal(err)
	}
	again, err := verified(0, things)
	if err != nil || again.Result != verify.Proven || pgtest.One[int](db, "SELECT resumed FROM pgbackfill.verifications WHERE id = $1", again.ID) != 1 {
		t.Errorf("the same: %s of verification %d, %v", again.Result, again.ID, err)
	}
	if _, err := verified(5, things); !errors.Is(err, backfill.ErrInterrupted) {
		t.Fatal(err)
	}
	if v, err := verified(0, none("things", "SELECT c.id FROM things c WHERE {{range c}} AND c.id = 7")); err != nil || v.Result != verify.Mismatched {
		t.Errorf("another check of the same name: %s, %v", v.Result, err)
	}
}
