package jobs

import (
	"reflect"

	"go.yaml.in/yaml/v3"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// undo says how a run is taken back: capture, {set: …} or {none: why}.
type undo struct {
	value
	undoParts
	capture bool
}

func (u *undo) read(r *reader, n *yaml.Node) {
	if n.Kind == yaml.MappingNode {
		r.mapping(n, reflect.ValueOf(&u.undoParts).Elem(), "undo")
		r.oneOf(n, "`undo`", []part{{"set", u.Set.node}, {"none", u.None.node}}, `say how it is taken back, as in {set: {display_name: "NULL"}}`)
		return
	}
	u.capture = n.Kind == yaml.ScalarNode && n.Tag == "!!str" && n.Value == "capture"
	if !u.capture {
		r.refuse(placeOf(n), describe(n), "capture, {set: …} or {none: why not}", "")
	}
}

// undo checks how a run is taken back; nil where nothing is said.
func (r *reader) undo(u undo, a around) *backfill.Undo {
	if !u.given() {
		return nil
	}
	if u.None.given() && u.None.node.Tag == "!!str" && u.None.text == "" {
		r.refuse(placeOf(u.None.node), "nothing", "why it cannot be taken back", "")
	}
	a = a.at("`undo`", "range", "scope", "helper")
	r.outsideKey(u.Set, a)
	if u.Where.given() && !u.Set.given() {
		r.refuse(placeOf(u.Where.node), "`where` without `set`", "both, or neither", "it says which rows `set` is for")
	}
	return &backfill.Undo{Set: r.assignments(u.Set, a), Where: r.expression(u.Where, a), Capture: u.capture, None: u.None.text}
}

// undoneHelper refuses assignments where it is a helper that is walked: they would be to the helper's own rows.
func (r *reader) undoneHelper(f file, job backfill.Job) {
	if job.WalkHelper != "" && f.Undo.Set.given() {
		r.refuse(placeOf(f.Undo.Set.node), "`undo: {set}` of a job that walks {{helper "+job.WalkHelper+"}}", "`capture`, or `none`",
			"`set` assigns columns of the walked table, which is the helper here: say `undo: capture`, which keeps what was there in every table that is written")
	}
}

// writer is who writes both the old and the new.
type writer struct {
	value
	trigger bool
}

func (w *writer) read(r *reader, n *yaml.Node) {
	word, ok := r.text(n, "application or trigger")
	if ok && word != "application" && word != "trigger" {
		r.refuse(placeOf(n), describe(n), "application or trigger", "")
	}
	w.trigger = word == "trigger"
}

// dualWrite checks who keeps new rows right; nil where nothing is said.
func (r *reader) dualWrite(f file) *backfill.DualWrite {
	d := f.DualWrite
	if !d.given() || d.node.Kind != yaml.MappingNode {
		return nil
	}
	out := &backfill.DualWrite{Trigger: d.By.trigger, Line: d.node.Line}
	if d.Tripwire.given() {
		out.Tripwire = &d.Tripwire.isTrue
	}
	if d.Tripwire.isTrue && (!f.Update.given() || f.Transform.given()) {
		r.refuse(placeOf(d.Tripwire.node), "`tripwire: true` without `update`", "a job with `update`", "the tripwire watches that rows hold what `update` sets: leave it out")
	}
	if out.Trigger && !f.Idempotent.or(true) {
		r.refuse(placeOf(d.By.node), "`by: trigger` in a job that is not idempotent", "a job whose values follow from the row",
			"the application writes both: `by: application`")
	}
	if out.Trigger && !f.Update.given() {
		r.refuse(placeOf(d.By.node), "`by: trigger` without `update`", "a job with `update`", "the trigger computes the columns that `update` sets; otherwise the application writes both: `by: application`")
	}
	return out
}
