package jobs

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

var updateGolden = flag.Bool("update", false, "write the golden files and schema.json anew")

// golden compares got with a file, or writes the file.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *updateGolden {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (go test ./jobs -update writes it anew):\n%s", path, diff)
	}
}

// files are the test files of a folder by their names.
func files(t testing.TB, folder string) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", folder, "*.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files in testdata/%s: %v", folder, err)
	}
	all := map[string][]byte{}
	for _, path := range paths {
		src, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(path)] = src
	}
	return all
}

// Each file in testdata/invalid gives the errors of its golden file: all of them, in the order of the file. Those in
// invalid-later hold fields that this version may not carry out yet.
func TestParseSaysAllThatIsWrong(t *testing.T) {
	t.Parallel()
	for _, folder := range []string{"invalid", "invalid-later"} {
		for name, src := range files(t, folder) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				jobs, err := parse(name, src, folder == "invalid-later")
				if err == nil || jobs != nil {
					t.Fatalf("%d jobs, error %v; expected errors alone", len(jobs), err)
				}
				if !errors.Is(err, backfill.ErrInput) {
					t.Errorf("%v is not an ErrInput", err)
				}
				golden(t, filepath.Join("testdata", folder, strings.TrimSuffix(name, ".yaml")+".golden"), err.Error()+"\n")
			})
		}
	}
}

// A field that is not carried out is refused, and one that is carried out is not.
func TestFieldsOfLaterAreRefused(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"params": "{a: 1}", "helpers": "{a: {sql: SELECT 1}}", "prepare": "SELECT 1", "finish": "SELECT 1", "transform": "{go: f, write: a}",
		"verify": "{none: SELECT 1}", "undo": "capture", "dual_write": "{by: application}", "contract": "{drops: [x.a]}", "throttle": "{}", "window": "Mon-Fri 22:00-06:00 Europe/Berlin",
	} {
		src := "name: n\ntable: x\n"
		if name != "transform" {
			src += "delete: true\n"
		}
		_, err := Parse("a.yaml", []byte(src+name+": "+text+"\n"))
		if later := err != nil && strings.Contains(err.Error(), "`"+name+"`: not supported yet"); later != slices.Contains(notYet, name) || !later && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The jobs of the corpus were written by somebody else; those of testdata/valid are carried out by this version.
func TestParseTakesEveryValidFile(t *testing.T) {
	t.Parallel()
	for _, folder := range []string{"valid", "later", "corpus"} {
		for name, src := range files(t, folder) {
			jobs, err := parse(name, src, folder != "valid")
			if err != nil {
				t.Error(err)
			}
			// Without leave to read everything, what is not carried out yet is all that is wrong.
			var list Errors
			if _, err := Parse(name, src); errors.As(err, &list) {
				for _, e := range list {
					if !strings.HasSuffix(e.Found, "not supported yet") {
						t.Error(e)
					}
				}
			}
			for _, job := range jobs {
				if len(job.Steps) == 0 && job.Transform == nil || job.Table.Name == "" && job.WalkHelper == "" {
					t.Errorf("%s: %+v changes nothing", name, job)
				}
			}
		}
	}
}

func TestParseEveryField(t *testing.T) {
	t.Parallel()
	jobs, err := ReadFile("testdata/valid/everything.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := []backfill.Job{{
		Name:        "orders-total",
		Description: "Fills orders.total, which the invoices page\nhas computed itself so far.\n",
		Table:       backfill.TableName{Schema: "shop", Name: "Orders"},
		Key:         []string{"region", "Order No"},
		Where:       &backfill.Expr{SQL: "t.total IS NULL AND {{range}}", Columns: []string{"t.total"}, Templates: []string{"range"}, Line: 10},
		Steps: []backfill.Step{{Name: "update", Update: &backfill.Update{
			Set: []backfill.Assignment{
				{Column: "total", Value: backfill.Expr{
					SQL: "(SELECT sum(l.price) FROM lines l WHERE {{range l}} AND l.order_id = t.id)", Subquery: true,
					Functions: []string{"sum"}, Columns: []string{"l.price", "l.order_id", "t.id"}, Templates: []string{"range l"}, Line: 14,
				}},
				{Column: "Net Total", Value: backfill.Expr{SQL: "t.gross - coalesce(x.tax, 0) -- it's net", Columns: []string{"t.gross", "x.tax"}, Line: 15}},
				{Column: "version", Value: backfill.Expr{SQL: "2", Line: 16}},
				{Column: "rate", Value: backfill.Expr{SQL: "-1.5e3", Line: 17}},
				{Column: "big", Value: backfill.Expr{SQL: "123456789012345678901", Line: 18}},
				{Column: "open", Value: backfill.Expr{SQL: "false", Line: 19}},
				{Column: "note", Value: backfill.Expr{SQL: "NULL", Line: 20}},
				{Column: "label", Value: backfill.Expr{SQL: "'a' || {{scope}}::text", Templates: []string{"scope"}, Line: 21}},
			},
			From: &backfill.Expr{SQL: "taxes AS x", Line: 22},
			Join: &backfill.Expr{SQL: "x.id = t.tax_id AND {{range x.region, x.no}}", Columns: []string{"x.id", "t.tax_id"}, Templates: []string{"range x.region, x.no"}, Line: 23},
		}}},
		Settings: map[string]string{"work_mem": "64MB", "timezone": "Europe/Berlin", "my_app.mode": "backfill", "jit": "off", "random_page_cost": "1.1"},
		Pace: backfill.Pace{
			Workers: 4, ChunkTarget: 250 * time.Millisecond, ChunkMaxRows: 20_000, Rate: 5000,
			LockTimeout: 500 * time.Millisecond, StatementTimeout: time.Minute, IdleTimeout: 5 * time.Second, ConnectTimeout: 10 * time.Second,
		},
		Origin: "testdata/valid/everything.yaml",
	}}
	if diff := cmp.Diff(want, jobs); diff != "" {
		t.Error(diff)
	}
}

func TestParseDefaultsAndDocuments(t *testing.T) {
	t.Parallel()
	jobs, err := ReadFile("testdata/valid/two-jobs.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := []backfill.Job{
		{
			Name: "first", Table: backfill.TableName{Name: "a"}, Key: []string{"id"}, Where: &backfill.Expr{SQL: "true", Line: 5},
			Steps:      []backfill.Step{{Name: "update", Update: &backfill.Update{Set: []backfill.Assignment{{Column: "x", Value: backfill.Expr{SQL: "1", Line: 6}}}, SkipUnchanged: true}}},
			Idempotent: true, Origin: "testdata/valid/two-jobs.yaml",
		},
		{
			Name: "second", Table: backfill.TableName{Name: "b"},
			Steps: []backfill.Step{{Name: "update", Update: &backfill.Update{
				Set: []backfill.Assignment{
					{Column: "x", Value: backfill.Expr{SQL: "t.y", Columns: []string{"t.y"}, Line: 11}},
					{Column: "y", Value: backfill.Expr{SQL: "t.x", Columns: []string{"t.x"}, Line: 11}},
				},
				From: &backfill.Expr{SQL: "c", Line: 11}, Join: &backfill.Expr{SQL: "true", Line: 11}, SkipUnchanged: true,
			}}},
			Idempotent: true, Pace: backfill.Pace{Rate: 10, ChunkRows: 500}, Origin: "testdata/valid/two-jobs.yaml#2",
		},
	}
	if diff := cmp.Diff(want, jobs, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

// Made to fail: with the semicolon left on, and with a template's name as it was written.
func TestParseSteps(t *testing.T) {
	t.Parallel()
	jobs, err := ReadFile("testdata/valid/steps.yaml")
	if err != nil {
		t.Fatal(err)
	}
	users := backfill.TableName{Name: "users"}
	want := []backfill.Job{
		{
			Name: "details", Table: backfill.TableName{Schema: "public", Name: "users"}, Where: &backfill.Expr{SQL: "t.bio <> ''", Columns: []string{"t.bio"}, Line: 3},
			Steps: []backfill.Step{
				{Name: "create", SQL: &backfill.Command{
					Expr: backfill.Expr{
						SQL:      "-- the {{chunk}} is locked\nINSERT INTO user_details (user_id, bio)\nSELECT c.id, c.bio FROM {{chunk}} AS c\nON CONFLICT (user_id) DO UPDATE SET bio = EXCLUDED.bio",
						Subquery: true, Columns: []string{"c.id", "c.bio", "excluded.bio"}, Templates: []string{"chunk"}, Line: 7,
					},
					Kind: "insert", Target: backfill.TableName{Name: "user_details"}, Written: []string{"user_id", "bio"}, Assigned: []string{"bio"},
				}},
				{Name: "step 2", Update: &backfill.Update{
					Set:  []backfill.Assignment{{Column: "has_details", Value: backfill.Expr{SQL: "true", Line: 11}}},
					From: &backfill.Expr{SQL: "user_details d", Line: 11}, Join: &backfill.Expr{SQL: "d.user_id = t.id", Columns: []string{"d.user_id", "t.id"}, Line: 11},
					SkipUnchanged: true,
				}},
				{Name: "step 3", SQL: &backfill.Command{
					Expr: backfill.Expr{
						SQL:      "DELETE FROM audit.notes n USING {{ chunk   nolock }} c WHERE n.user_id = c.id AND {{range n.user_id}}",
						Subquery: true, Columns: []string{"n.user_id", "c.id"}, Templates: []string{"chunk nolock", "range n.user_id"}, Line: 12,
					},
					Kind: "delete", Target: backfill.TableName{Schema: "audit", Name: "notes"},
				}},
				{Name: "gone", Delete: true},
			},
		},
		{Name: "delete-all", Table: users, Steps: []backfill.Step{{Name: "delete", Delete: true}}},
		{
			Name: "merge", Table: users, Key: []string{"id"},
			Steps: []backfill.Step{{Name: "merge", SQL: &backfill.Command{
				Expr: backfill.Expr{
					SQL: "WITH s AS (SELECT * FROM users u WHERE {{range u}} AND NOT {{scope}}) MERGE INTO public.copies AS t USING s ON t.id = s.id " +
						"WHEN MATCHED THEN UPDATE SET id = s.id, name = s.tags[1:n] WHEN NOT MATCHED THEN INSERT (id, note) VALUES (s.id, ':x')",
					Subquery: true, Columns: []string{"*", "t.id", "s.id", "s.tags", "n"}, Templates: []string{"range u", "scope"}, Line: 25,
				},
				Kind: "merge", Target: backfill.TableName{Schema: "public", Name: "copies"}, Written: []string{"id", "name", "note"}, Assigned: []string{"id", "name"},
			}}},
		},
	}
	if diff := cmp.Diff(want, jobs, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(backfill.Job{}, "Idempotent", "Origin")); diff != "" {
		t.Error(diff)
	}
}

// What files with every field become is held against files that a person has read: each job, what is no part of its
// identity, and what the parser saw in each fragment.
func TestParseEveryOtherField(t *testing.T) {
	t.Parallel()
	for name, src := range files(t, "later") {
		jobs, err := parse(name, src, true)
		if err != nil {
			t.Error(err)
			continue
		}
		type seen struct {
			SQL               string
			Templates, Params []string
			Line              int
		}
		type shown struct {
			Job       backfill.Job
			Verify    []backfill.Check
			DualWrite *backfill.DualWrite
			Dir       string
			Seen      []seen
		}
		var list []shown
		for _, job := range jobs {
			one := shown{Job: job, Verify: job.Verify, DualWrite: job.DualWrite}
			if job.Transform != nil {
				one.Dir = job.Transform.Dir
			}
			w := warnings{job: job}
			for _, e := range w.exprs() {
				one.Seen = append(one.Seen, seen{e.SQL, e.Templates, e.Params, e.Line})
			}
			list = append(list, one)
		}
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		if err := enc.Encode(list); err != nil {
			t.Fatal(err)
		}
		golden(t, filepath.Join("testdata", "later", strings.TrimSuffix(name, ".yaml")+".golden"), b.String())
	}
}

// A job that says the same in another style of YAML is the same job, so a run of it goes on.
func TestParseStylesGiveOneHash(t *testing.T) {
	t.Parallel()
	const head = "name: n\ntable: x\nupdate:\n  set:\n    a: "
	hashes := map[string]string{}
	for _, style := range []string{"t.b || 'x'\n", "\"t.b || 'x'\"\n", "'t.b || ''x'''\n", "|\n      t.b || 'x'\n", ">-\n      t.b\n      || 'x'\n", "\n      t.b || 'x'\nworkers: 7\ndescription: other\n"} {
		jobs, err := Parse("a.yaml", []byte(head+style))
		if err != nil {
			t.Fatal(err)
		}
		hashes[jobs[0].Hash()] = style
	}
	if len(hashes) != 1 {
		t.Errorf("different hashes: %q", hashes)
	}
}

func TestParseWindowsFile(t *testing.T) {
	t.Parallel()
	src := "\xef\xbb\xbfname: n\r\ntable: x\r\nupdate:\r\n  set:\r\n    a: |\r\n      t.b +\r\n      t.c)\r\n"
	_, err := Parse("a.yaml", []byte(src))
	if err == nil || !strings.HasPrefix(err.Error(), `a.yaml:7:10: syntax error at or near ")"`) {
		t.Errorf("got %v; expected the place of the parenthesis", err)
	}
}

func TestReadFileThatIsNotThere(t *testing.T) {
	t.Parallel()
	_, err := ReadFile("testdata/none.yaml")
	want := "testdata/none.yaml: the job file cannot be read: no such file or directory; expected a YAML file\n  → check the path; `pgbackfill init TABLE` writes a first job file"
	if !errors.Is(err, backfill.ErrInput) || !errors.Is(err, os.ErrNotExist) || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

// Made to fail: with the walked table's schema put where none was written, and with days read as hours.
func TestParseContract(t *testing.T) {
	t.Parallel()
	list, err := ReadFile("testdata/valid/contract.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := &backfill.Contract{
		Drops: []backfill.Dropped{
			{Table: backfill.TableName{Name: "users"}, Column: "full_name"},
			{Table: backfill.TableName{Schema: "public", Name: "users"}, Column: "Nick Name"},
		},
		Soak: 7 * 24 * time.Hour, MinWrites: 20, ReportMaxAge: 30 * time.Minute,
		Backup: &backfill.Backup{
			Query:  backfill.Expr{SQL: "SELECT max(finished_at) FROM ops.backups", Subquery: true, Functions: []string{"max"}, Columns: []string{"finished_at"}, Line: 10},
			MaxAge: 36 * time.Hour,
		},
		Line: 6,
	}
	if diff := cmp.Diff(want, list[0].Contract); diff != "" {
		t.Error(diff)
	}
	plain, err := Parse("a.yaml", []byte("name: n\ntable: users\nupdate: {set: {a: t.b}}\ncontract: {drops: [users.b]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want = &backfill.Contract{Drops: []backfill.Dropped{{Table: backfill.TableName{Name: "users"}, Column: "b"}}, Soak: 24 * time.Hour, MinWrites: 1000, ReportMaxAge: time.Hour, Line: 4}
	if diff := cmp.Diff(want, plain[0].Contract); diff != "" {
		t.Error(diff)
	}
	if plain[0].Hash() != func() string { j := plain[0]; j.Contract = nil; return j.Hash() }() {
		t.Error("the contract is part of the job's identity")
	}
}
