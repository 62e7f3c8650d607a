package backfill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
	"github.com/pgbackfill/pgbackfill/internal/rowjson"
)

// PlannedTransform is a job's transform resolved against the database: what is sent for a row, and what must come back.
type PlannedTransform struct {
	// Key and Read are the members of each line that is sent; Returns those that must come back with the key.
	Key     []TransformMember `json:"key"`
	Read    []TransformMember `json:"read"`
	Returns []TransformMember `json:"returns"`
	// Others is set where more than the row decides what is sent: then no chunk is read before the one before it is committed.
	Others bool `json:"others,omitempty"`

	// items are the select list that Read comes of.
	items []string
}

// TransformMember is a member of a line.
type TransformMember struct {
	Name string `json:"name"`
	// Type is its SQL type, without a length or a precision.
	Type string `json:"type"`

	kind rowjson.Kind
	// made is set where somebody made the type.
	made bool
}

func members(list []TransformMember) []rowjson.Member {
	out := make([]rowjson.Member, len(list))
	for i, m := range list {
		out[i] = rowjson.Member{Name: m.Name, Kind: m.kind}
	}
	return out
}

func forms(list []TransformMember) []pgsql.Form {
	out := make([]pgsql.Form, len(list))
	for i, m := range list {
		switch m.kind {
		case rowjson.Bytes:
			out[i] = pgsql.AsHex
		case rowjson.Time:
			out[i] = pgsql.AsTime
		}
	}
	return out
}

// refuseTransform says what makes a transform impossible, whatever the database holds.
func (pl *planning) refuseTransform() []error {
	t := pl.plan.Job.Transform
	if t == nil {
		return nil
	}
	var list []error
	place := pl.at(t.Line)
	add := func(remedy, format string, args ...any) {
		list = append(list, Inputf(place, remedy, "transform: "+format, args...))
	}
	switch {
	case (len(t.Command) > 0) == (t.Go != ""):
		add("command: [./encrypt], or  go: NAME  of a function that the embedding program registered", "it must say either command or go")
	case t.Go != "" && pl.known.Transforms[t.Go] == nil:
		add("register it in Options.Transforms; the program pgbackfill itself knows none: use command there", "no function is registered as %q", t.Go)
	case len(t.Command) > 0 && pl.known.Programs != nil:
		if err := pl.known.Programs.Find(t.Command, t.Dir); err != nil {
			list = append(list, err)
		}
	}
	switch {
	case len(t.Write) == 0 && len(pl.plan.Job.Steps) == 0:
		add("write: [columns], or steps over {{out}}", "nothing is done with what it returns")
	case len(t.Write) > 0 && len(pl.plan.Job.Steps) > 0:
		add("put the written columns into an update over {{out}}", "write and steps cannot be combined")
	}
	names := t.Write
	if len(t.Returns) > 0 {
		names = nil
		for _, r := range t.Returns {
			names = append(names, r.Name)
		}
		for _, w := range t.Write {
			if !slices.Contains(names, w) {
				add("add it to returns, or leave returns out: then it has the written column's type", "%s is written and not among what it returns", w)
			}
		}
		if len(t.Write) > 0 {
			for _, name := range names {
				if !slices.Contains(t.Write, name) {
					add("write it too, or use steps over {{out}}", "%s is returned and not written", name)
				}
			}
		}
	}
	for i, name := range names {
		switch {
		case name == rowjson.Failed:
			add("return it under another name, and write it by a step over {{out}}", "%q is the member by which a program says that a row failed", name)
		case pl.isKey(name):
			add("leave it out: the key comes back by itself", "%s is part of the key", name)
		case slices.Contains(names[:i], name):
			add("name it once", "%s is returned twice", name)
		}
	}
	if len(names) == 0 && len(pl.plan.Job.Steps) > 0 {
		add("returns: {name: type}", "with steps, what it returns must be said")
	}
	return list
}

// readTransform finds out of what types a transform's values are.
func (pl *planning) readTransform(ctx context.Context) error {
	t, p := pl.plan.Job.Transform, pl.plan
	if t == nil {
		return nil
	}
	out := &PlannedTransform{}
	for _, k := range p.Key {
		c := p.Table.Column(k.Name)
		out.Key = append(out.Key, member(c.Name, c.BaseType, c.BareType))
	}
	for _, e := range t.Read {
		if !pl.readsKey(e.SQL) {
			out.items = append(out.items, e.SQL)
		}
	}
	var err error
	if out.Read, err = pl.readMembers(ctx, out.items); err != nil {
		return err
	}
	if out.Returns, err = pl.returned(ctx); err != nil {
		return err
	}
	out.Others = pl.transformReadsOthers() || p.Job.Where != nil && p.Job.Where.Subquery
	p.Transform = out
	return nil
}

// readsKey reports whether an item is a column of the key, which comes by itself.
func (pl *planning) readsKey(item string) bool {
	name := strings.TrimPrefix(strings.TrimSpace(item), "t.")
	return slices.ContainsFunc(pl.plan.Key, func(k pgsql.KeyColumn) bool {
		return name == k.Name || name == pgsql.Ident(k.Name)
	})
}

func member(name string, base uint32, bare string) TransformMember {
	const firstMade = 16384 // FirstNormalObjectId
	return TransformMember{Name: name, Type: bare, kind: rowjson.KindOf(base, strings.HasSuffix(bare, "[]")), made: base >= firstMade}
}

// readMembers asks the server what the items of the select list are called and of what type they are.
func (pl *planning) readMembers(ctx context.Context, items []string) ([]TransformMember, error) {
	p := pl.plan
	s := pgsql.Transform{Scope: scopeOf(p), Read: items}
	describe, err := s.Describe()
	if err != nil {
		return nil, &Error{Place: pl.place(), Found: err.Error(), Remedy: "see the templates in the manual", Kind: ErrInput}
	}
	fields, err := pl.described(ctx, pl.jobPins(), describe.SQL)
	if err != nil {
		return nil, pl.refused(describe.SQL, err)
	}
	fields = fields[len(p.Key):]
	oids := make([]string, len(fields))
	for i, f := range fields {
		oids[i] = fmt.Sprint(f.DataTypeOID)
	}
	types, err := pl.types(ctx, oids)
	if err != nil {
		return nil, err
	}
	var list []TransformMember
	for i, f := range fields {
		if pl.isKey(f.Name) || slices.ContainsFunc(list, func(m TransformMember) bool { return m.Name == f.Name }) {
			return nil, Inputf(pl.at(p.Job.Transform.Line), "give one another name: "+pgsql.Ident(f.Name)+" AS other",
				"transform: two things that are read are called %s", f.Name)
		}
		list = append(list, member(f.Name, types[i].base, types[i].bare))
	}
	return list, nil
}

// resolved is a type as the server knows it.
type resolved struct {
	// name is without a length; base is what it is made of, domains resolved, and bare its name.
	name string
	base uint32
	bare string
}

// types resolves types by their names or numbers.
func (pl *planning) types(ctx context.Context, names []string) ([]resolved, error) {
	answers, err := pl.ask(ctx, pl.jobPins(), pgsql.Types(names))
	if err != nil {
		return nil, err
	}
	list := make([]resolved, len(names))
	for i, row := range answers[0].rows {
		list[i] = resolved{name: row[0], base: uint32(number(row[1])), bare: row[2]}
	}
	return list, nil
}

// returned are the members that must come back.
func (pl *planning) returned(ctx context.Context) ([]TransformMember, error) {
	t, p := pl.plan.Job.Transform, pl.plan
	var list []TransformMember
	if len(t.Returns) == 0 {
		for _, name := range t.Write {
			c := p.Table.Column(name)
			list = append(list, member(name, c.BaseType, c.BareType))
		}
		return list, nil
	}
	for _, r := range t.Returns {
		types, err := pl.types(ctx, []string{r.Type})
		if err != nil {
			return nil, &Error{
				Place: pl.at(t.Line), Found: fmt.Sprintf("transform: returns: %s: the type %q", r.Name, r.Type), Err: describedError{err},
				Remedy: "name a type as SQL does: bytea, numeric, text[], public.mood", Kind: ErrInput,
			}
		}
		m := member(r.Name, types[0].base, types[0].bare)
		if len(t.Write) == 0 { // a domain checks what a step reads; what is written checks itself
			m.Type = types[0].name
		}
		list = append(list, m)
	}
	return list, nil
}

// jobPins are the settings under which the job's SQL is read.
func (pl *planning) jobPins() pgsql.Statement {
	return pgsql.SetLocal(pgsql.JobPins(pl.plan.SearchPath, pl.plan.Job.Settings)...)
}

// transformOf is the reading and writing of a plan's transform; nil where it has none.
func (s statements) transformOf(p *Plan) *pgsql.Transform {
	t := &pgsql.Transform{
		Scope: s.scope, ByRow: s.byRow, KeyForms: forms(p.Transform.Key), Forms: forms(p.Transform.Read),
		Read: p.Transform.items, SkipUnchanged: true,
	}
	for _, m := range p.Transform.Returns {
		if len(p.Job.Transform.Write) == 0 {
			break
		}
		c := p.Table.Column(m.Name)
		t.Write = append(t.Write, pgsql.SetColumn{Name: c.Name, Type: c.Type, Bare: c.BareType, Compare: p.compare(c)})
		t.Returns.Names, t.Returns.Types, t.Returns.Made = append(t.Returns.Names, m.Name), append(t.Returns.Types, m.Type), append(t.Returns.Made, m.made)
	}
	return t
}

// planTransform adds the statements of one chunk of a transform.
func (s statements) planTransform(part pgsql.Part, when string, add func(string, ...pgsql.Statement)) error {
	list, err := s.transformed(part)
	if err != nil {
		return err
	}
	add(when+": what is sent, in a transaction that only reads", pgsql.BeginReading, list.read)
	if s.writes() {
		add(when, list.write...)
		add(when+", where rows went on changing while they were computed", list.lock, list.reread)
		return nil
	}
	add(when+": which rows are as they were read", list.lock)
	add(when, list.write...)
	add(when+", where rows went on changing while they were computed", list.reread)
	return nil
}

// transformStatements are those of one chunk of a transform, without a row.
type transformStatements struct {
	read, lock, reread pgsql.Statement
	write              []pgsql.Statement
}

func (s statements) transformed(part pgsql.Part) (list transformStatements, err error) {
	within := part
	within.Members, within.Out = s.noMembers(), s.out
	rows := pgsql.Rows{Columns: make([][]*string, s.transform.Named())}
	errs := make([]error, 6)
	list.read, errs[0] = s.transform.Select(part)
	list.lock, errs[1] = s.transform.Lock(part)
	list.reread, errs[2] = s.transform.Select(within)
	if s.writes() {
		list.write = make([]pgsql.Statement, 3)
		list.write[0], errs[3] = s.transform.Update(part, rows, s.none())
		list.write[1], errs[4] = s.transform.Unwritten(part)
		list.write[2], errs[5] = s.transform.Stale(part, rows)
		list.write = append(list.write, s.keeping()...)
	} else {
		list.write, _, errs[3] = s.changes(within)
	}
	return list, errors.Join(errs...)
}

// writes reports whether what comes back is written straight into the walked table.
func (s statements) writes() bool { return len(s.transform.Write) > 0 }

// none is what comes back for no row.
func (s statements) none() pgsql.Out {
	return pgsql.Out{Values: make([][]*string, len(s.transform.Write))}
}

// out is what {{out}} stands for, without a row.
func (p *PlannedTransform) out() *pgsql.Out {
	o := &pgsql.Out{}
	for _, m := range slices.Concat(p.Key, p.Returns) {
		o.Names, o.Types, o.Values, o.Made = append(o.Names, m.Name), append(o.Types, m.Type), append(o.Values, []*string{}), append(o.Made, m.made)
	}
	return o
}
