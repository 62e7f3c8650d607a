package backfill_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/internal/pgtest/lineprogram"
)

// What is kept of a row's error has no secret in it, whole or cut short.
//
// Made to fail: with the detail kept, it has the first half of the secret; with the error taken as the server sent it, the
// message has it.
func TestQuarantineKeepsNoSecret(t *testing.T) {
	t.Parallel()
	const secret = "a-secret-that-is-longer-than-what-the-server-shows-of-a-value-in-the-detail-of-an-error"
	db := notes(t)
	db.Exec("ALTER TABLE notes ADD CONSTRAINT never CHECK (note IS NULL OR id = 1) NOT VALID; CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'the note %', new.note; END $$; CREATE TRIGGER tell BEFORE UPDATE ON notes FOR EACH ROW WHEN (new.id = 1) EXECUTE FUNCTION tell()")
	job := withParams(backfill.Param{Name: "token", Env: "TOKEN"}, backfill.Param{Name: "label", Value: ptr("a")}, backfill.Param{Name: "at", Type: "timestamptz"})
	plan, err := backfill.Planner{Environment: environ("TOKEN", secret)}.Plan(t.Context(), db.Conn(), job, testPace())
	if err != nil {
		t.Fatal(err)
	}
	plan.Pace.MaxQuarantined = 1000
	w := join(t, db, plan, part{})
	if s := w.finished(); s.Quarantined == 0 {
		t.Fatal("nothing is quarantined")
	}
	kept := strings.Join(pgtest.All[string](db, "SELECT q::text FROM pgbackfill.quarantine AS q"), "\n")
	if strings.Contains(kept, secret[:20]) {
		t.Errorf("the quarantine has the secret: %s", kept)
	}
	if !strings.Contains(kept, "(the secret token)") || !strings.Contains(kept, "23514") {
		t.Errorf("the quarantine has %s; expected both errors", kept)
	}
	for _, e := range w.seen() {
		if strings.Contains(fmt.Sprintf("%+v", e), secret[:20]) {
			t.Errorf("an event has the secret: %+v", e)
		}
	}
}

// A row that the transform's program refuses, or dies of, is set aside where the job says so, and done by the retry through the
// same program.
//
// Made to fail: with the retry over the chunk's range, the rows before it are computed and written again; with the job's word
// not asked for, the second case finishes.
func TestQuarantineOfATransform(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"refuses", "poisoned"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			db := installed(t, words(40))
			db.Exec("UPDATE words SET v = 'poison' WHERE id = 17")
			job := transforms(lineprogram.Command(mode)...)
			_, err := join(t, db, inOneSegment(planFor(t, db, job, nil)), part{}).wait()
			if err == nil || !strings.Contains(err.Error(), "on_error: quarantine") {
				t.Fatalf("without the job's word the run ended with %v", err)
			}
			db.Exec("UPDATE words SET out = NULL; DELETE FROM pgbackfill.runs")
			job.Transform.Quarantine = true
			plan := inOneSegment(planFor(t, db, job, nil))
			w := join(t, db, plan, part{})
			if s := w.finished(); s.Quarantined != 1 {
				t.Errorf("%d rows are quarantined", s.Quarantined)
			}
			if found := aside(db); !slices.Equal(found, []string{"17 transform  ×1"}) {
				t.Errorf("quarantined: %q", found)
			}
			if n := pgtest.One[int](db, "SELECT count(*) FROM words WHERE out = upper(v)"); n != 39 {
				t.Errorf("%d rows are written", n)
			}
			if got, err := retry(t, db, w, plan, part{}); err != nil || got.Failed != 1 {
				t.Errorf("before it is mended: %+v, %v", got, err)
			}
			db.Exec("UPDATE words SET v = 'cured' WHERE id = 17; UPDATE words SET out = 'theirs' WHERE id = 16")
			if got, err := retry(t, db, w, plan, part{}); err != nil || got.Done != 1 || got.Left != 0 {
				t.Errorf("after it is mended: %+v, %v", got, err)
			}
			if all := pgtest.All[string](db, "SELECT out FROM words WHERE id IN (16, 17) ORDER BY id"); !slices.Equal(all, []string{"theirs", "CURED"}) {
				t.Errorf("the rows are %v", all)
			}
		})
	}
}

// The connection is lost between the moment a row is set aside and the commit, and the row is mended meanwhile: it was never set
// aside, and the run changes it.
//
// Made to fail: with what is set aside committed before the chunk, the mended row is changed and quarantined too, and a retry
// changes it again.
func TestConnectionLostWhileSettingAside(t *testing.T) {
	t.Parallel()
	setup, job := texted(60)
	db := installed(t, setup, "UPDATE numbers SET x = 'one' WHERE id IN (17, 44)")
	plan := planned(t, db, job, whole)
	killer := db.Conn()
	var once sync.Once
	w := join(t, db, plan, part{observer: func(e backfill.Event) {
		if c, ok := e.(backfill.ChunkChanged); ok && len(c.Chunk.Quarantined) > 0 {
			once.Do(func() {
				_, err := killer.Exec(t.Context(), `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pgbackfill %';
					UPDATE numbers SET x = '1' WHERE id = `+c.Chunk.Quarantined[0].Key[0])
				if err != nil {
					t.Errorf("terminating: %v", err)
				}
			})
		}
	}})
	if s := w.finished(); s.Quarantined != 1 {
		t.Errorf("%d rows are quarantined; expected the one that was not mended: %v", s.Quarantined, aside(db))
	}
	db.Exec("UPDATE numbers SET x = '1'")
	if got, err := retry(t, db, w, plan, part{}); err != nil || got.Done != 1 {
		t.Errorf("the retry: %+v, %v", got, err)
	}
	onceEach(t, db, "numbers")
	tiled(t, db, plan, w.run.ID())
}
