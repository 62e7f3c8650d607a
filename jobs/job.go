package jobs

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgparse"
)

// job makes a job of what was decoded and checks what a field alone does not show.
func (r *reader) job(f file) backfill.Job {
	a := around{key: f.Key.names, transform: f.Transform.given(), capture: f.Undo.capture}
	params := r.params(f.Params.list, a)
	for _, p := range f.Params.list {
		a.params = append(a.params, p.name)
	}
	helpers := r.helpers(f.Helpers.list, a)
	for _, h := range f.Helpers.list {
		a.helpers = append(a.helpers, h.name)
	}
	r.action(f)
	job := backfill.Job{
		Name:        f.Name.text,
		Description: f.Description.text,
		Table:       f.Table.name,
		WalkHelper:  r.walkedHelper(f, a),
		Key:         f.Key.names,
		Walk:        f.Walk.kind,
		Where:       r.expression(f.Where, a.at("`where`, which is the scope", "range", "helper")),
		Params:      params,
		Helpers:     helpers,
		Prepare:     r.script(f.Prepare, a.at("`prepare`")),
		Finish:      r.script(f.Finish, a.at("`finish`", "helper")),
		Transform:   r.transform(f, a),
		Steps:       r.steps(f, a),
		Idempotent:  f.Idempotent.or(true),
		Settings:    f.Settings.values,
		Undo:        r.undo(f.Undo, a),
		Verify:      r.checks(f, a),
		DualWrite:   r.dualWrite(f),
		Contract:    r.contract(f),
		Pace:        r.pace(f),
	}
	r.unusedOut(f, job, a)
	r.unusedWhere(f, job)
	r.undoneHelper(f, job)
	if c := f.Chunk; c.Rows.count > 0 && c.MaxRows.count > 0 && c.Rows.count > c.MaxRows.count {
		r.refuse(placeOf(c.Rows.node), fmt.Sprintf("%d rows in a chunk of at most %d", c.Rows.count, c.MaxRows.count), "`rows` no greater than `max_rows`", "")
	}
	return job
}

// pace is how hard the file says to work.
func (r *reader) pace(f file) backfill.Pace {
	return backfill.Pace{
		Workers:          f.Workers.count,
		ChunkRows:        f.Chunk.Rows.count,
		ChunkTarget:      f.Chunk.Target.duration,
		ChunkMaxRows:     f.Chunk.MaxRows.count,
		Rate:             f.Rate.rate,
		LockTimeout:      f.Timeouts.Lock.duration,
		StatementTimeout: f.Timeouts.Statement.duration,
		IdleTimeout:      f.Timeouts.Idle.duration,
		ConnectTimeout:   f.Timeouts.Connect.duration,
		TransformTimeout: f.Timeouts.Transform.duration,
		Limits:           r.limits(f),
	}
}

// action refuses a job that does not say what happens to its rows in exactly one way.
func (r *reader) action(f file) {
	if f.node == nil { // it is no mapping, which was said
		return
	}
	ways := []part{{"update", f.Update.node}, {"delete", f.Delete.node}, {"steps", f.Steps.node}}
	if f.Transform.given() { // with what it writes, or with one of the others
		if f.Update.given() && f.Steps.given() {
			r.oneOf(f.node, "the job", ways, "")
		}
		return
	}
	if slices.Contains(r.fields(reflect.TypeFor[file]()), "transform") {
		ways = append(ways, part{"transform", nil})
	}
	r.oneOf(f.node, "the job", ways,
		"say what happens to the rows, as in `update: {set: {display_name: initcap(t.full_name)}}`")
}

// update checks the assignments and what they are joined with.
func (r *reader) update(u update, a around) *backfill.Update {
	a = a.at("an `update`", "range", "scope", "out", "helper")
	out := &backfill.Update{SkipUnchanged: u.SkipUnchanged.or(true)}
	r.outsideKey(u.Set, a)
	out.Set = r.assignments(u.Set, a)
	if out.SkipUnchanged && len(out.Set) > 0 && !slices.ContainsFunc(out.Set, func(a backfill.Assignment) bool { return !a.Keeps() }) {
		r.refuse(placeOf(u.Set.list[0].key), "`"+out.Set[0].Column+": "+out.Set[0].Value.SQL+"`, the value that it has, and nothing else in `set`", "a new value",
			"write what the column is to become, as SQL over the row t; an update that is only to touch rows says skip_unchanged: false")
	}
	out.From = r.parse(u.From.sqlText, a, func(sql string) (pgparse.Facts, error) {
		facts, err := pgparse.From(sql)
		if err == nil {
			err = aliasT(facts)
		}
		return facts, err
	})
	out.Join = r.expression(u.Join, a)
	switch {
	case u.From.given() && !u.Join.given():
		r.refuse(placeOf(u.From.node), "`from` without `join`", "both", `say how it meets t, as in "join: i.id = t.issue_id"; for every pair of rows, "join: true"`)
	case u.Join.given() && !u.From.given():
		r.refuse(placeOf(u.Join.node), "`join` without `from`", "both", "say what is joined in `from`; a condition over t alone goes into `where`")
	}
	return out
}

// outsideKey refuses assignments of what the table is walked by.
func (r *reader) outsideKey(set assignments, a around) {
	for _, one := range set.list {
		if slices.Contains(a.key, one.column) {
			r.refuse(placeOf(one.key), "`"+one.column+"`, a column of the key", "columns outside the key",
				"a job may not write what its table is walked by: walk it by another key")
		}
	}
}

// assignments checks the values of columns.
func (r *reader) assignments(set assignments, a around) []backfill.Assignment {
	var list []backfill.Assignment
	for _, one := range set.list {
		if e := r.expression(one.sql, a); e != nil {
			list = append(list, backfill.Assignment{Column: one.column, Value: *e})
		}
	}
	return list
}

// aliasT refuses a table of `from` that goes by the walked table's alias.
func aliasT(facts pgparse.Facts) error {
	for _, a := range facts.Aliases {
		if a.Name == "t" {
			return &pgparse.Error{
				Offset: a.Offset, Found: "the alias t in `from`", Expected: "another alias: t is the walked table",
				Remedy: "give it another one, as in `from: teams AS team`",
			}
		}
	}
	return nil
}
