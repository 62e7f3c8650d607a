package pgsql_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

var update = flag.Bool("update", false, "write the golden files")

// Every shape of statement is held against a file that a person has read: `go test
// ./internal/pgsql -update` writes them, and the difference is reviewed.
func TestShapes(t *testing.T) {
	t.Parallel()
	one := pgsql.Range{After: []string{"41"}, Through: []string{"77"}}
	two := pgsql.Range{After: []string{"41", "a,b"}, Through: []string{"77", ""}}
	set := []pgsql.SetColumn{
		{Name: "display_name", Type: "character varying(40)", Bare: "character varying", Compare: pgsql.CompareCollateC, Expr: "initcap(t.full_name) -- as shown"},
		{Name: "price", Type: "numeric(8,2)", Bare: "numeric", Compare: pgsql.CompareImage, Expr: "t.cents / 100.0"},
		{Name: "seen", Type: "bigint", Bare: "bigint", Compare: pgsql.CompareIdentity, Expr: "t.seen + 1"},
	}
	rows := func(w pgsql.Walk, where string) pgsql.Scope { return pgsql.Scope{Walk: w, Where: where} }
	plain := pgsql.Change{Scope: rows(walk(id), ""), Set: set[:1]}
	guarded := pgsql.Change{Scope: rows(walk(id), ""), Set: set, SkipUnchanged: true}
	scoped := guarded
	scoped.Where = "t.full_name ~ '^[a-z]' -- only names"
	proven := guarded
	proven.Set = slices.Clone(set)
	proven.Set[0].Nulls = &pgsql.Nulls{Columns: []string{"full_name", `Co"de`}}
	proven.Set[1].Nulls = &pgsql.Nulls{}
	joined := pgsql.Change{
		Scope: rows(walk(id, code), "t.display_name IS NULL"), Set: set[:2], SkipUnchanged: true, LockFirst: true,
		From: "(SELECT p.user_id, p.code FROM posts p WHERE {{range p.user_id, p.code}} AND {{scope}}) p", Join: "p.user_id = t.id",
	}
	joined.Partitioned = true
	alone := pgsql.Change{Scope: rows(walk(id), ""), Set: set[:1], LockFirst: true}
	whole := joined
	whole.Set, whole.WholeRow = []pgsql.SetColumn{{Name: "doc", Type: "jsonb", Bare: "jsonb", Compare: pgsql.CompareImage, Expr: "to_jsonb(t)"}}, []string{"id", `Co"de`, "doc"}
	// Its scope mentions what it writes, and it looks into another table by the row's own key.
	trigger := pgsql.DualWrite{
		Scope: rows(walk(id, code), "t.display_name IS NULL AND t.seen > :least"), Job: "users-display-name", Set: set[:2],
		From: "(SELECT p.user_id, p.code FROM posts p WHERE {{range p.user_id, p.code}} AND {{scope}}) p", Join: "p.user_id = t.id",
		Columns:       []pgsql.RowColumn{{Name: "id", Type: "bigint"}, {Name: "display_name", Type: "character varying", Default: "'none'::character varying"}, {Name: "seen", Type: "bigint"}},
		Depends:       []string{"id", "display_name", "price", "seen"},
		ScopeReadsSet: true, Children: []string{`"public"."old_users"`}, Names: []string{"id", `Co"de`},
		Settings: pgsql.DualWriteSettings(`"public"`, map[string]string{"work_mem": "64MB", "lock_timeout": "1s", "search_path": "public"}),
	}
	trigger.Params = []pgsql.Param{{Name: "least", Type: "bigint", Value: []byte("5")}}
	triggerOfWhole := pgsql.DualWrite{
		Scope: rows(walk(id), ""), Job: strings.Repeat("long-", 12), Set: whole.Set, WholeRow: true, Columns: []pgsql.RowColumn{{Name: "id", Type: "bigint"}, {Name: "doc", Type: "jsonb"}},
		Depends: []string{"id", "doc"}, Names: []string{"id"},
	}
	tripwire := pgsql.Tripwire{Values: trigger, Watched: []string{"id", `Co"de`, "display_name", "price", "seen"}, Found: []pgsql.KeyColumn{id, code}}
	part := func(r pgsql.Range) pgsql.Part { return pgsql.Part{Range: r} }
	sweep := func(r pgsql.Range) pgsql.Part { return pgsql.Part{Range: r, Sweep: 7, Walked: []byte("{101,102}")} }
	constants := []pgsql.Param{{Name: "least", Type: "bigint", Value: []byte("5")}, {Name: "none", Type: "text"}}
	stepping := pgsql.Scope{Walk: walk(id, code), Where: "t.seen > :least", Params: constants, Helpers: map[string]string{"dupes": `"pgbackfill"."helper_1_dupes"`}}
	members := &pgsql.Members{Columns: [][]string{{"42", "43"}, {"a", "b,c"}}}
	byRow := &pgsql.Members{Columns: [][]string{{"(0,1)", "(7,3)"}}, ByRow: true}
	five := "5"
	out := &pgsql.Out{Names: []string{"id", "Secret"}, Types: []string{"bigint", "bytea"}, Values: [][]*string{{&five}, {nil}}}
	command := func(sql string, p pgsql.Part) func() ([]pgsql.Statement, error) {
		return func() ([]pgsql.Statement, error) {
			return pgsql.Command{Scope: stepping, Name: "link", SQL: sql}.Statements(p)
		}
	}
	// historic is a change held against what its run kept.
	historic := pgsql.Change{Scope: stepping, Set: []pgsql.SetColumn{{Name: "seen", Type: "bigint", Bare: "bigint", Compare: pgsql.CompareIdentity, Expr: "t.seen + :least"}}}
	historic.History = &pgsql.History{Columns: []string{"id", `Co"de`, "seen", "note", "added"}, Capture: pgsql.Capture{
		Run: 7, No: 1, Table: historic.Table, Key: []pgsql.KeyColumn{id, code}, Updates: true, Deletes: true, Kept: []pgsql.KeptColumn{
			{Number: 3, Name: "seen", Type: "bigint", Bare: "bigint", Updated: true}, {Number: 4, Name: "note", Type: "character varying(9)", Bare: "character varying", Updated: true},
		},
	}}
	// mapped is a transform by a key of two parts, placed one by the rows' places.
	mapped := pgsql.Transform{
		Scope: stepping, KeyForms: make([]pgsql.Form, 2), Read: []string{"t.ssn", "lower(t.country) AS country -- folded", "t.born"},
		Forms: []pgsql.Form{pgsql.AsHex, pgsql.AsText, pgsql.AsTime}, SkipUnchanged: true,
		Write:   []pgsql.SetColumn{{Name: "ssn_encrypted", Type: "bytea", Bare: "bytea", Compare: pgsql.CompareIdentity}, {Name: "tags", Type: "text[]", Bare: "text[]", Compare: pgsql.CompareImage}},
		Returns: pgsql.Out{Types: []string{"bytea", "text[]"}},
	}
	written := mapped
	written.Then = &historic
	placed := mapped
	placed.ByRow, placed.Partitioned, placed.Where = true, true, ""
	versions := func(t pgsql.Transform) pgsql.Rows { return pgsql.Rows{Columns: make([][]*string, t.Named())} }
	returned := pgsql.Out{Values: [][]*string{{&five}, {nil}}}

	// kept has what taking back must look out for: a composite key with a collation, columns that cannot be written, all three
	// events; added is a table that rows are only inserted into.
	kept := pgsql.Capture{
		Run: 7, No: 1, OID: 16384, Table: `"public"."Odd ""users"`, Key: walk(id, code).Key, Inserts: true, Updates: true, Deletes: true,
		Kept: []pgsql.KeptColumn{
			{Number: 3, Name: "display_name", Type: "character varying(40)", Bare: "character varying", Collation: `pg_catalog."C"`, Updated: true},
			{Number: 4, Name: "doc", Type: "json", Bare: "json", Updated: true},
			{Number: 6, Name: "twice", Type: "bigint", Bare: "bigint", Updated: true, Generated: true},
			{Number: 7, Name: `N"o`, Type: "bigint", Bare: "bigint", Always: true},
		},
	}
	added := pgsql.Capture{Run: 7, No: 2, OID: 16385, Table: `"public"."archive"`, Key: walk(id).Key, Inserts: true, Kept: []pgsql.KeptColumn{{Number: 2, Name: "bio", Type: "text", Bare: "text"}}}
	unwritable := kept
	unwritable.Kept = kept.Kept[2:]
	both := []pgsql.Capture{kept, added}
	listed := func(list ...pgsql.Statement) func() ([]pgsql.Statement, error) {
		return func() ([]pgsql.Statement, error) { return list, nil }
	}
	before := func(r pgsql.Range) pgsql.Statement {
		var b pgsql.Binder
		sql := kept.Before(walk(id, code).Key, []string{"id", `Co"de`, "display_name", "doc", "twice", `N"o`}, r, &b)
		return pgsql.Statement{Name: "before", SQL: sql, Args: b.Args()}
	}
	ofRun := func(sql string) func() ([]pgsql.Statement, error) {
		return func() ([]pgsql.Statement, error) {
			of, err := pgsql.OfRun(sql, "7", "t.n > :least AND {{range}} AND t.id IN (SELECT id FROM {{helper dupes}})")
			return []pgsql.Statement{{Name: "of run 7", SQL: of}}, err
		}
	}

	shapes := map[string]func() ([]pgsql.Statement, error){
		"capture_install":        listed(pgsql.Install(both)...),
		"capture_uninstall":      listed(pgsql.Uninstall(both)...),
		"capture_keeping":        func() ([]pgsql.Statement, error) { st, _ := pgsql.Keeping(both); return []pgsql.Statement{st}, nil },
		"capture_before":         listed(before(two), before(pgsql.Range{})),
		"undo_settings":          one1(pgsql.SetLocal(pgsql.UndoPins("users")...)),
		"undo_part":              listed(pgsql.Kept(both, 900, 100), pgsql.AnyKept(both, 900), pgsql.GreatestKept(both), pgsql.CheckNow, pgsql.Whole(both, 800, 900, 2000)),
		"undo_restore":           listed(pgsql.Restore([]pgsql.Capture{kept}, 800, 900, nil), pgsql.Restore([]pgsql.Capture{kept}, 800, 900, []int64{801, 807})),
		"undo_restore_added":     listed(pgsql.Restore(both, 800, 900, nil)),
		"undo_restore_nothing":   listed(pgsql.Restore([]pgsql.Capture{unwritable}, 800, 900, nil)),
		"undo_leave":             listed(kept.Leave(850, "23503: a row refers to it"), pgsql.LeftAgain(7, 850, 100), pgsql.Unlist(7, []int64{851, 852}), pgsql.Listed(7, []int64{851, 852})),
		"undo_of_run":            ofRun("(SELECT h.was FROM {{helper dupes}} h WHERE {{scope}} AND {{range h}}) -- {{helper dupes}}"),
		"undo_covered":           listed(pgsql.Statement{Name: "covered", SQL: pgsql.Covered(walk(id, code).Key, []pgsql.Range{two, {Nulls: true}, {At: two.Through}})}),
		"history_proof":          one2(historic.Proof(part(two))),
		"history_wrong":          one2(historic.Wrong(part(two), 10, true)),
		"history_gone":           one2(historic.Gone(part(two), historic.History)),
		"history_gone_keys":      one2(historic.GoneKeys(part(two), historic.History, 10)),
		"history_read":           one2(written.Select(part(two))),
		"history_straight":       one2(mapped.Straight().Proof(pgsql.Part{Range: two, Out: &pgsql.Out{Names: []string{"id", `Co"de`, "ssn_encrypted", "tags"}, Types: []string{"bigint", "character(5)", "bytea", "text[]"}, Values: [][]*string{{&five}, {&five}, {&five}, {nil}}}})),
		"proof_sample":           one2(scoped.Proof(pgsql.Part{Range: one, Reading: true, Sample: &pgsql.Sample{Seed: -7, Parts: 50_000}})),
		"traces":                 one1(pgsql.Traces{Walk: walk(id, code), Run: 7, Keyed: true, Set: set[:2]}.Statement(two, [][]*string{{&five, &five}, {&five, nil}})),
		"versions":               one1(walk(id, code).Versions([][]*string{{&five}, {&five}})),
		"version":                one1(walk(id).Version(pgsql.Range{At: []string{"5"}}, true)),
		"traces_kept":            one1(pgsql.Traces{Walk: walk(id), Run: 7, Set: historic.Set, Capture: &historic.History.Capture}.Statement(one, [][]*string{{&five}})),
		"transform_proof":        one2(mapped.Proof(part(two), versions(mapped), returned)),
		"transform_wrong":        one2(mapped.Wrong(part(two), versions(mapped), returned, 10, true)),
		"transform_check":        one2(mapped.Describe()),
		"transform_read":         one2(mapped.Select(part(two))),
		"transform_read_placed":  one2(placed.Select(part(two))),
		"transform_lock":         one2(mapped.Lock(part(two))),
		"transform_lock_placed":  one2(placed.Lock(part(two))),
		"transform_write":        one2(mapped.Update(part(two), versions(mapped), returned)),
		"transform_write_placed": one2(placed.Update(part(two), versions(placed), returned)),
		"transform_unwritten":    one2(mapped.Unwritten(part(two))),
		"transform_stale":        one2(mapped.Stale(part(two), versions(mapped))),
		"transform_stale_placed": one2(placed.Stale(part(two), versions(placed))),
		"boundary":               one1(walk(id).Boundary(one, 1000)),
		"boundary_open":          one1(walk(id).Boundary(pgsql.Range{Through: []string{"77"}}, 1000)),
		"boundary_composite":     one1(walk(id, code).Boundary(two, 1000)),
		"boundary_mixed_order":   one1(walk(id, pattern).Boundary(two, 1000)),
		"bounds_sample":          one1(walk(id, code).Bounds(walk(id, code).Sampled(2.5), 16)),
		"bounds_histogram":       one1(walk(code).Bounds(walk(code).Histogram("public", "users"), 16)),
		"bounds_spread":          one1(walk(id).Bounds(walk(id).Spread(16), 16)),
		"last":                   one1(walk(id, code).Last(pgsql.Range{After: []string{"41", "x"}})),
		"count":                  one1(walk(id, code).Count(two)),
		"count_nulls":            one1(walk(id, code).Count(pgsql.Range{Nulls: true})),
		"settings":               one1(pgsql.SetLocal(pgsql.JobPins(`"$user", public`, map[string]string{"timezone": "Europe/Berlin", "work_mem": "64MB"})...)),
		"settings_key":           one1(pgsql.SetLocal(pgsql.KeyPins()...)),
		"writers":                one1(pgsql.Writers(16384)),
		"partitions":             one1(pgsql.Leaves(16384, []string{"display_name"}, false)),
		"partition":              one1(pgsql.Leaf(16384, 16390)),
		"partition_key":          one1(pgsql.PartitionColumns(16384)),
		"update_plain":           func() ([]pgsql.Statement, error) { return plain.Statements(part(one)) },
		"update_guarded":         func() ([]pgsql.Statement, error) { return guarded.Statements(part(one)) },
		"update_proven":          func() ([]pgsql.Statement, error) { return proven.Statements(part(one)) },
		"update_scoped":          func() ([]pgsql.Statement, error) { return scoped.Statements(part(one)) },
		"alone":                  one1(walk(id, code).Alone(two, two.Through)),
		"alone_nulls":            one1(walk(id, code).Alone(pgsql.Range{Nulls: true}, nil)),
		"count_at":               one1(walk(id, code).Count(pgsql.Range{At: two.Through})),
		"update_at":              func() ([]pgsql.Statement, error) { return joined.Statements(part(pgsql.Range{At: two.Through})) },
		"update_nulls": func() ([]pgsql.Statement, error) {
			return pgsql.Change{Scope: rows(walk(id, code), ""), Set: set[:1]}.Statements(part(pgsql.Range{Nulls: true}))
		},
		"update_sweep":        func() ([]pgsql.Statement, error) { return scoped.Statements(sweep(one)) },
		"update_joined":       func() ([]pgsql.Statement, error) { return joined.Statements(part(two)) },
		"update_joined_sweep": func() ([]pgsql.Statement, error) { return joined.Statements(sweep(two)) },
		"update_whole_row":    func() ([]pgsql.Statement, error) { return whole.Statements(part(two)) },
		"update_locked_alone": func() ([]pgsql.Statement, error) { return alone.Statements(part(one)) },
		"walkers":             one1(walk(id, code).Walkers(7, two)),
		"walkers_nulls":       one1(walk(id, code).Walkers(7, pgsql.Range{Nulls: true})),
		"step_insert":         command("INSERT INTO d SELECT c.id, :none::text FROM {{chunk}} AS c ON CONFLICT DO NOTHING", part(two)),
		"step_nolock":         command("DELETE FROM d USING {{chunk nolock}} AS c WHERE d.id = c.id AND d.at::date < now()", part(two)),
		"step_reading":        command("SELECT c.id FROM {{chunk}} AS c", pgsql.Part{Reading: true}),
		"step_range":          command("DELETE FROM d USING {{helper dupes}} h WHERE {{range h}} AND {{scope}} AND h.id = d.id AND d.n > :least", part(two)),
		"step_members":        command("INSERT INTO d SELECT c.id FROM {{chunk}} AS c", pgsql.Part{Range: two, Members: members}),
		"step_by_row":         command("INSERT INTO d SELECT c.id FROM {{chunk}} AS c", pgsql.Part{Range: two, Members: byRow}),
		"step_out":            command("UPDATE users AS t SET s = o.\"Secret\" FROM {{out}} AS o WHERE {{range}} AND o.id = t.id", pgsql.Part{Range: two, Out: out}),
		"step_sweep":          command("INSERT INTO d SELECT c.id FROM {{chunk}} AS c", sweep(two)),
		"step_delete": func() ([]pgsql.Statement, error) {
			return pgsql.Delete{Scope: stepping, Name: "delete", LockFirst: true}.Statements(part(two))
		},
		"heap_update": func() ([]pgsql.Statement, error) {
			place := pgsql.KeyColumn{Name: "ctid", Type: "pg_catalog.tid", Less: "pg_catalog.<", LessEqual: "pg_catalog.<=", Equal: "pg_catalog.=", GreaterEqual: "pg_catalog.>=", Greater: "pg_catalog.>"}
			c := pgsql.Change{Scope: rows(walk(place), "t.seen > 1"), Set: set[:1], SkipUnchanged: true}
			p := pgsql.Part{Range: pgsql.Range{After: []string{"(8,0)"}, Through: []string{"(16,0)"}}}
			changes, err := c.Statements(p)
			if err != nil {
				return nil, err
			}
			p.Sweep, p.Walked, p.Reading = 7, []byte("{101}"), true
			missed, err := c.Missed(p)
			if err != nil {
				return nil, err
			}
			p.Since, p.All = "1234", true
			since, err := c.Missed(p)
			if err != nil {
				return nil, err
			}
			keys, err := c.MissedKeys(p, []string{"id", "Co\"de"})
			return append(changes, missed, since, keys, pgsql.Pages(16384), walk(place).Keep(), pgsql.SetSnapshot("00000003-1")), err
		},
		"heap_stripes": func() ([]pgsql.Statement, error) {
			place := pgsql.KeyColumn{Name: "ctid", Type: "pg_catalog.tid", Less: "pg_catalog.<", LessEqual: "pg_catalog.<=", Equal: "pg_catalog.=", GreaterEqual: "pg_catalog.>=", Greater: "pg_catalog.>"}
			c := pgsql.Change{Scope: rows(walk(place), "t.seen > 1"), Set: set[:1], SkipUnchanged: true}
			p := pgsql.Part{Range: pgsql.Range{After: []string{"(8,0)"}, Through: []string{"(16,0)"}}}
			ways := []pgsql.Stripes{{Of: 3, Columns: []string{"id"}}, {Of: 3, Columns: []string{"id"}, Hash: "hashint8"}, {Of: 3, Columns: []string{"id", `Co"de`}, Record: true}}
			var list []pgsql.Statement
			for i, way := range ways {
				p.Stripe = &pgsql.Stripe{Stripes: way, No: i}
				changes, err := c.Statements(p)
				if err != nil {
					return nil, err
				}
				list = append(list, changes...)
			}
			p.Stripe, p.Sweep, p.Returning = nil, 7, []string{"id", `Co"de`}
			swept, err := c.Statements(p)
			if err != nil {
				return nil, err
			}
			p.Returning, p.Row = nil, &pgsql.Row{Key: []pgsql.KeyColumn{id, code}, Values: []string{"5", "a"}}
			one, err := c.Statements(p)
			if err != nil {
				return nil, err
			}
			p.Row, p.Reading, p.Apart = nil, true, &pgsql.Apart{Run: 7, Columns: []string{"id", `Co"de`}}
			missed, err := c.Missed(p)
			if err != nil {
				return nil, err
			}
			keys, err := c.Keys(pgsql.Part{Range: p.Range, Stripe: &pgsql.Stripe{Stripes: ways[0]}}, []pgsql.KeyColumn{id, code})
			if err != nil {
				return nil, err
			}
			even, err := c.Evenness(ways, 2.5)
			return append(append(append(list, swept...), one...), missed, keys, even, pgsql.Updates(16384), pgsql.Holding("1234")), err
		},
		"missed_joined": func() ([]pgsql.Statement, error) {
			s, err := joined.Missed(part(two))
			return []pgsql.Statement{s}, err
		},
		"missed_whole_row": func() ([]pgsql.Statement, error) {
			s, err := whole.Missed(part(two))
			return []pgsql.Statement{s}, err
		},
		"missed_delete": func() ([]pgsql.Statement, error) {
			s, err := pgsql.Delete{Scope: stepping, Name: "delete"}.Missed(part(two))
			return []pgsql.Statement{s}, err
		},
		"proof_plain":     proof(scoped, one, false),
		"proof_all":       proof(plain, pgsql.Range{}, true),
		"proof_joined":    proof(joined, two, true),
		"proof_whole_row": proof(whole, two, false),
		"proof_left": func() ([]pgsql.Statement, error) {
			p := pgsql.Part{Range: pgsql.Range{After: two.After}, Reading: true}
			left, err := stepping.Left(p)
			if err != nil {
				return nil, err
			}
			keys, err := stepping.LeftKeys(p, 10)
			if err != nil {
				return nil, err
			}
			outside, err := stepping.Outside(p, []string{"full_name", "Odd"}, [][]string{{"display_name"}, {}})
			return []pgsql.Statement{left, keys, outside}, err
		},
		"proof_none": func() ([]pgsql.Statement, error) {
			p, q := pgsql.Part{Range: two, Reading: true}, pgsql.Query{Scope: stepping, SQL: "SELECT c.id FROM {{chunk}} AS c WHERE c.seen > :least -- none"}
			count, err := q.Count(p)
			if err != nil {
				return nil, err
			}
			first, err := q.First(p, 10)
			return []pgsql.Statement{count, first}, err
		},
		"proof_bags": func() ([]pgsql.Statement, error) {
			p := pgsql.Part{Range: one, Reading: true}
			b := pgsql.Bags{Scope: rows(walk(id), ""), Expected: "SELECT u.id, u.price FROM {{chunk}} AS u", Actual: "SELECT d.id, d.price FROM d WHERE {{range d}}", Casts: []string{"", "numeric(8,2)"}}
			count, err := b.Proof(p)
			if err != nil {
				return nil, err
			}
			wrong, err := b.Wrong(p, 10, true)
			return []pgsql.Statement{count, wrong}, err
		},
		"proof_around": func() ([]pgsql.Statement, error) {
			return []pgsql.Statement{pgsql.BeginSnapshot, pgsql.TypeName(1700, 524294)}, nil
		},
		"take": func() ([]pgsql.Statement, error) {
			keys, err := stepping.Take(part(two), pgsql.Members{})
			if err != nil {
				return nil, err
			}
			rows, err := stepping.Take(part(two), pgsql.Members{ByRow: true})
			return []pgsql.Statement{keys, rows}, err
		},
		"dual_write":           trigger.Install,
		"dual_write_whole_row": triggerOfWhole.Install,
		"dual_write_check":     func() ([]pgsql.Statement, error) { s, err := trigger.Check(); return []pgsql.Statement{s}, err },
		"dual_write_remove": func() ([]pgsql.Statement, error) {
			return pgsql.RemoveDualWrite("users-display-name", []string{`"public"."users"`, `"public"."old_users"`}), nil
		},
		"tripwire": func() ([]pgsql.Statement, error) { return tripwire.Install(nil) },
		"tripwire_again": func() ([]pgsql.Statement, error) {
			again := tripwire
			again.Values = triggerOfWhole
			return again.Install([]string{triggerOfWhole.Table})
		},
		"tripwire_check": func() ([]pgsql.Statement, error) { s, err := tripwire.Check(); return []pgsql.Statement{s}, err },
		"tripwire_remove": func() ([]pgsql.Statement, error) {
			return pgsql.RemoveTripwire("users-display-name", []string{`"public"."users"`, `"public"."old_users"`}), nil
		},
		"gate": func() ([]pgsql.Statement, error) {
			about := pgsql.GateAbout{Job: "users", SpecHash: "abc", Run: 7, Table: 16384, Relations: []uint32{16384}, Columns: []string{"full_name"}, MaxAge: 3600, Soak: 86400, MinWrites: 1000}
			return []pgsql.Statement{
				pgsql.BeginGate, pgsql.GatePins(pgsql.Limits{}), pgsql.GateMoment, pgsql.GateRun("users"), pgsql.GateColumn("", "users", "full_name", 16384), pgsql.GateCoverage(about),
				pgsql.GateVerified(about), pgsql.GateScope(about), pgsql.GateSoak(about), pgsql.GateTransactions(about), pgsql.GateDependencies(about), pgsql.GateSilent(about), pgsql.GateFunctions(about),
				pgsql.GateReferences(about), pgsql.GateConstraints(about), pgsql.GateReplication(about), pgsql.GateBlinded(about), pgsql.GateUndo(about), pgsql.GatePosition,
				pgsql.GateStandbys("0/1"), pgsql.GateLastRow(about), pgsql.GateCounters, pgsql.GateResets("public.pg_stat_statements"),
				pgsql.GateStatements("public.pg_stat_statements", []string{"full_name"}, []string{"users"}), pgsql.GateLook("users", "primary", "now", 0),
				pgsql.GateMark("users", "primary", "1 2 t", "named", 3, "SELECT 1", true), pgsql.GateWaivers("users"), pgsql.GateWaive("users", "soak", "why", time.Unix(0, 0), "ann"),
				pgsql.GateStore(pgsql.GateResult{GateAbout: about, Ready: true, Conditions: "[]", Snapshot: "1:1:", Began: "0", Who: "ann", Tool: "dev"}),
			}, nil
		},
		"backup": func() ([]pgsql.Statement, error) {
			return []pgsql.Statement{pgsql.BackupAge("SELECT max(at) FROM ops.backups -- the last")}, nil
		},
		"signals": func() ([]pgsql.Statement, error) {
			return []pgsql.Statement{
				pgsql.BeginSignal, pgsql.Replicas(), pgsql.AuroraThere(), pgsql.AuroraReplicas(), pgsql.StandbyPosition(), pgsql.Position(),
				pgsql.SlotRetention(), pgsql.Archiver(), pgsql.ArchiveWaiting(), pgsql.Waiting("0.1"), pgsql.Blocked("0.1"), pgsql.OldestTransaction(),
				pgsql.WraparoundVacuum(16384), pgsql.DeadRows(16384), pgsql.ActiveSessions(),
			}, nil
		},
		"check": func() ([]pgsql.Statement, error) {
			s, err := joined.Check(pgsql.Part{})
			return []pgsql.Statement{s}, err
		},
	}
	for name, build := range shapes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			statements, err := build()
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for _, s := range statements {
				fmt.Fprintf(&b, "-- %s\n%s;\n", s.Name, s.SQL)
				for i, a := range s.Args {
					fmt.Fprintf(&b, "-- $%d = %q\n", i+1, a)
				}
			}
			file := filepath.Join("testdata", "shapes", name+".sql")
			if *update {
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("%s has changed (-golden +now):\n%s", file, diff)
			}
		})
	}
}
