package checkpoint

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Difference is one thing that is not as it was when a run began.
type Difference struct {
	// What names it: "job: update.set[0].value.sql", "table: column email", "tool".
	What string `json:"what"`
	// Was and Is are "(none)" where it was not there, or is not there now.
	Was string `json:"was"`
	Is  string `json:"is"`
}

func (d Difference) String() string { return d.What + " was " + d.Was + " and is " + d.Is }

const none = "(none)"

// Compare says what differs between a run and a plan of the same job made now by this version of
// the tool. A run may be gone on with only where nothing does. Pace is never compared. Of the
// versions the patch level does not count, and "dev" is like any other.
func Compare(info RunInfo, plan *backfill.Plan, version string) []Difference {
	var list []Difference
	if info.SpecHash != plan.Job.Hash() {
		list = append(list, compareSpecs(info, plan.Job)...)
	}
	for _, c := range plan.Constants {
		if stored, ok := info.Params[c.Name]; ok && !c.Same(stored) {
			list = append(list, Difference{"param " + c.Name, "the secret that the run began with", "another value of the environment variable " + c.Env})
		}
	}
	// What the table is like is known when prepare is done, and may change when finish has begun.
	known := !info.Walk.Pending && !plan.Pending && !info.Finishing
	if known && info.TableOID != plan.Table.OID {
		list = append(list, Difference{
			"table: identity", fmt.Sprintf("%s with OID %d", info.Table, info.TableOID),
			fmt.Sprintf("%s with OID %d", tableText(backfill.TableName{Schema: plan.Table.Schema, Name: plan.Table.Name}), plan.Table.OID),
		})
	}
	if known {
		list = append(list, compareLines("table: ", info.Fingerprint, plan.Fingerprint)...)
	}
	if was, is := series(info.ToolVersion), series(version); was != is && was != "dev" && is != "dev" {
		list = append(list, Difference{"tool", info.ToolVersion, version})
	}
	return list
}

// Did reports whether the run did what the job says. How it is taken back is not part of that: it may be said, or
// said otherwise, afterwards.
func (i RunInfo) Did(job backfill.Job) bool {
	var was backfill.Job
	if json.Unmarshal(i.Spec, &was) != nil {
		return false
	}
	was.Undo, job.Undo = nil, nil
	return was.Hash() == job.Hash()
}

// Mendable takes apart what may differ where only the quarantined rows of a run are done: the cause can have been a
// constraint, a trigger, a function or a column's type, and mending it changes the table. The job itself, its table, its
// key and the tool must be what they were.
func Mendable(info RunInfo, differences []Difference) (mended, grave []Difference) {
	for _, d := range differences {
		rest, ofTable := strings.CutPrefix(d.What, "table: ")
		column, ofColumn := strings.CutPrefix(rest, "column ")
		ofKey := slices.ContainsFunc(info.Walk.Key, func(k pgsql.KeyColumn) bool { return k.Name == column }) ||
			info.Walk.Heap != nil && slices.Contains(info.Walk.Heap.Identity, column)
		if ofTable && (ofColumn && !ofKey || strings.HasPrefix(rest, "function ") || strings.HasPrefix(rest, "trigger ")) {
			mended = append(mended, d)
			continue
		}
		grave = append(grave, d)
	}
	return mended, grave
}

// Changed is the error of a run that may not be gone on with; nil where nothing differs.
func Changed(info RunInfo, differences []Difference) error {
	if len(differences) == 0 {
		return nil
	}
	var lines strings.Builder
	for _, d := range differences {
		lines.WriteString("\n    " + d.String())
	}
	return &backfill.Error{
		Place: fmt.Sprintf("run %d of %s", info.ID, info.Job),
		Found: "changed since the run began:" + lines.String(),
		Remedy: "change it back and run again, or start over with: pgbackfill run --again\n" +
			"    (the old run is closed, and what it has done stays as it is)",
		Kind: backfill.ErrChanged,
	}
}

func compareSpecs(info RunInfo, job backfill.Job) []Difference {
	text, err := json.Marshal(job)
	if err == nil {
		var was, is any
		if json.Unmarshal(info.Spec, &was) == nil && json.Unmarshal(text, &is) == nil {
			list := compareLines("job: ", asWritten(flatten(was)), asWritten(flatten(is)))
			if len(list) > 0 {
				return list
			}
		}
	}
	return []Difference{{"job: hash", info.SpecHash, job.Hash()}}
}

// asWritten gives the parts of a job's only step the paths that the file has for them: update.set.c.
func asWritten(flat map[string]string) map[string]string {
	written := map[string]string{}
	for path, value := range flat {
		if rest, only := strings.CutPrefix(path, "steps[0]."); only && flat["steps[1].name"] == "" && (rest == "delete" || strings.HasPrefix(rest, "update.")) {
			path = rest
		}
		written[path] = value
	}
	return written
}

func compareLines(prefix string, was, is map[string]string) []Difference {
	names := map[string]bool{}
	for name := range was {
		names[name] = true
	}
	for name := range is {
		names[name] = true
	}
	var list []Difference
	for _, name := range slices.Sorted(maps.Keys(names)) {
		before, had := was[name]
		now, has := is[name]
		if had == has && before == now {
			continue
		}
		if !had {
			before = none
		}
		if !has {
			now = none
		}
		list = append(list, Difference{prefix + name, before, now})
	}
	return list
}

// flatten gives each value in a job's JSON form its path, as the job file has it: an expression
// is where its SQL is, and an assignment where its column is. {"set":[{"column":"c","value":{"sql":"1"}}]}
// is set.c: 1, and {"a":["b"]} is a[0]: b.
func flatten(v any) map[string]string {
	flat := map[string]string{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if sql, ok := v["sql"].(string); ok && len(v) == 1 {
				flat[path] = sql
				return
			}
			for name, member := range v {
				walk(strings.TrimPrefix(path+"."+name, "."), member)
			}
		case []any:
			for i, member := range v {
				if column, value, ok := assignment(member); ok {
					walk(path+"."+column, value)
					continue
				}
				if name, rest, ok := named(member); ok && (path == "params" || path == "helpers") {
					walk(path+"."+name, rest)
					continue
				}
				walk(fmt.Sprintf("%s[%d]", path, i), member)
			}
		case string:
			flat[path] = v
		default:
			text, _ := json.Marshal(v) // what was read from JSON can be written as JSON
			flat[path] = string(text)
		}
	}
	walk("", v)
	return flat
}

// assignment takes {"column": …, "value": …} apart.
func assignment(v any) (column string, value any, ok bool) {
	m, _ := v.(map[string]any)
	column, ok = m["column"].(string)
	return column, m["value"], ok
}

// named takes the name out of {"name": …, …}.
func named(v any) (name string, rest map[string]any, ok bool) {
	m, _ := v.(map[string]any)
	name, ok = m["name"].(string)
	rest = maps.Clone(m)
	delete(rest, "name")
	return name, rest, ok
}

// series is the part of a version that decides whether two versions can work on one run.
func series(version string) string {
	version = strings.TrimPrefix(version, "v")
	if version == "" || strings.HasPrefix(version, "dev") {
		return "dev"
	}
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(len(parts), 2)], ".")
}
