package jobs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// Errors are all the errors of a file, in the order of the file. Each is an ErrInput.
type Errors []*backfill.Error

// Error gives each error on lines of its own.
func (e Errors) Error() string {
	parts := make([]string, len(e))
	for i, err := range e {
		parts[i] = err.Error()
	}
	return strings.Join(parts, "\n")
}

// Unwrap gives errors.Is and errors.As each of them.
func (e Errors) Unwrap() []error {
	list := make([]error, len(e))
	for i, err := range e {
		list[i] = err
	}
	return list
}

// reader reads one file and collects what is wrong with it.
type reader struct {
	name   string
	source source
	errors []placed
	// everything reads also the fields that this version does not carry out. Tests set it.
	everything bool
}

type placed struct {
	place
	err *backfill.Error
}

// enough is how many errors of a file are told: what has more of them is no job file.
const enough = 100

// mostJobs is how many jobs a file may have.
const mostJobs = 1000

// tired is the panic with which a file is given up; [reader.until] knows it.
type tired struct{}

// until reads the documents, or gives up when there are errors enough.
func (r *reader) until(src []byte) (jobs []backfill.Job) {
	defer func() {
		if p := recover(); p != nil && p != (tired{}) {
			panic(p)
		}
	}()
	return r.documents(src)
}

// refuse adds an error.
func (r *reader) refuse(p place, found, expected, remedy string) {
	r.errors = append(r.errors, placed{p, &backfill.Error{
		Place: fmt.Sprintf("%s:%d:%d", r.name, p.line, p.column), Found: found, Expected: expected, Remedy: remedy, Kind: backfill.ErrInput,
	}})
	if len(r.errors) >= enough {
		panic(tired{})
	}
}

// err is all errors so far in the order of the file, or nil.
func (r *reader) err() error {
	if len(r.errors) == 0 {
		return nil
	}
	slices.SortStableFunc(r.errors, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column))
	})
	list := make(Errors, len(r.errors))
	for i, e := range r.errors {
		list[i] = e.err
	}
	return list
}

// simple refuses what YAML offers beyond plain data anywhere under n: anchors, aliases,
// merge keys and tags. A job is reviewed where it is read.
func (r *reader) simple(n *yaml.Node) bool {
	ok := true
	switch {
	case n.Kind == yaml.AliasNode:
		r.refuse(placeOf(n), "the alias *"+n.Value, "the value itself", "write the value out: a job is reviewed where it is read")
		return false
	case n.Anchor != "":
		r.refuse(placeOf(n), "the anchor &"+n.Anchor, "the value alone", "remove it: a job has no aliases, so nothing can refer to it")
		ok = false
	case n.Style&yaml.TaggedStyle != 0:
		r.refuse(placeOf(n), "the tag "+n.Tag, "the value alone", "remove the tag")
		ok = false
	case n.Kind == yaml.ScalarNode && n.Tag == "!!merge":
		r.refuse(placeOf(n), "the merge key <<", "a field", "write the fields out: a job is reviewed where it is read")
		ok = false
	}
	for _, c := range n.Content {
		if !r.simple(c) {
			ok = false
		}
	}
	return ok
}

// describe says what a node is, for people.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	short := n.Value
	if len([]rune(short)) > 40 {
		short = string([]rune(short)[:40]) + "…"
	}
	switch n.Tag {
	case "!!null":
		if n.Value == "" {
			return "nothing"
		}
		return n.Value
	case "!!bool":
		return n.Value
	case "!!int", "!!float":
		return "the number " + short
	case "!!timestamp":
		return "the date " + short
	}
	return fmt.Sprintf("the text %q", short)
}
