package jobs

import (
	"strings"
	"testing"
)

func TestWarnings(t *testing.T) {
	t.Parallel()
	const again = "if running it twice changes the value again, say `idempotent: false`"
	for _, c := range []struct{ update, more, want string }{
		{"{set: {counter: t.counter + 1}}", "", "a.yaml:3: `counter` is computed from `counter`, which this job writes: " + again},
		{"{set: {counter: counter + 1}}", "", "a.yaml:3: `counter` is computed from `counter`, which this job writes: " + again},
		{"{set: {counter: t.counter + 1}}", "idempotent: false", ""},
		{"{set: {a: t.b, b: t.c}}", "", "a.yaml:3: `a` is computed from `b`, which this job writes: " + again},
		{"{set: {updated_at: t.updated_at, a: t.updated_at}}", "", ""},
		{"{set: {a: 'coalesce(t.a, t.b)'}}", "", ""},
		{"{set: {a: 'coalesce(t.b, t.a)'}}", "", "a.yaml:3: `a` is computed from `a`, which this job writes: " + again},
		{"{set: {a: x.a + 1}, from: x, join: x.id = t.id}", "", ""},
		{"{set: {a: gen_random_uuid()}}", "", "a.yaml:3: `a` may get another value each time, from gen_random_uuid: running it twice may change it again; say `idempotent: false`, or write a constant"},
		{"{set: {a: t.b}}", "chunk: {rows: 5, target: 1s}", "a.yaml: job n: `chunk.rows` fixes the size of a chunk, so `target` and `max_rows` have no effect"},
		{"{set: {a: lower(t.b)}}", "chunk: {rows: 5}", ""},
	} {
		jobs, err := Parse("a.yaml", []byte("name: n\ntable: x\nupdate: "+c.update+"\n"+c.more+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		w := warnings{job: jobs[0], supported: func(field string) bool { return field != "verify" }}
		if got := strings.Join(w.all(), "\n"); got != c.want {
			t.Errorf("%s %s:\ngot  %s\nwant %s", c.update, c.more, got, c.want)
		}
	}
}

// Made to fail: with what all steps write taken for each (a step that reads what the one before wrote was warned of),
// with the scope looked for in every job (one that captures was), and with what a
// transform writes left out (recompute was a full proof).
func TestWarningsOfSteps(t *testing.T) {
	t.Parallel()
	const again = "running it twice may change it again; say `idempotent: false`, or write a constant"
	const residual = " which this job writes: rows leave the scope by being filled, so verification shows only that none is left (a *residual* proof); with `undo: capture` it shows that each is right"
	const nothing = "a.yaml: job n: nothing proves that it did what it should: say `verify`, as in `verify: {none: SELECT …}`"
	const checked = "verify: {none: SELECT 1}\n"
	for _, c := range []struct{ job, want string }{
		{"delete: true", ""},
		{"steps: [{sql: DELETE FROM a}]", nothing},
		{"update: {set: {a: 1}}\nidempotent: false", nothing},
		{"transform: {go: f, write: a}", nothing + ", or `verify: {recompute: true}` where the transform gives the same for the same row each time (no random nonce)"},
		{"transform: {go: f, returns: {a: int}}\nsteps: [{sql: 'UPDATE x SET a = o.a FROM {{out}} AS o WHERE o.id = x.id'}]", nothing},
		{"where: t.a IS NULL\ntransform: {go: f, write: a}\nverify: {recompute: true}", "a.yaml:3: `where` mentions `a`," + residual},
		{"where: t.b IS NULL\ntransform: {go: f, write: a}\nverify: {recompute: true}", ""},
		{"where: t.a IS NULL\ntransform: {go: f, write: a}\nverify: {recompute: true}\nundo: capture", ""},
		{checked + "steps: [{sql: DELETE FROM a}]", ""},
		{checked + "steps: [{sql: UPDATE x SET n = x.n + 1}]", "a.yaml:4: step 1: `n` is computed from itself: if running it twice changes the value again, say `idempotent: false`"},
		{checked + "idempotent: false\nsteps: [{sql: UPDATE x SET n = x.n + 1}]", ""},
		{checked + "steps: [{name: up, sql: UPDATE y SET a = now()}]", "a.yaml:4: step up: it may assign another value each time, from now: " + again},
		{checked + "steps: [{name: up, sql: UPDATE y SET a = 1 WHERE b < now()}]", ""},
		{checked + "steps: [{name: in, sql: INSERT INTO y SELECT 1}]", "a.yaml:4: step in: it inserts the rows again when it is run twice: write ON CONFLICT, or say `idempotent: false`"},
		{checked + "steps: [{sql: INSERT INTO y SELECT now() ON CONFLICT DO NOTHING}, {sql: INSERT INTO y SELECT 1 WHERE NOT EXISTS (SELECT)}]", ""},
		{checked + "steps: [{sql: UPDATE x SET a = 1}, {update: {set: {b: t.a + 1}}}]", ""},
		{checked + "steps: [{update: {set: {b: t.a + 1}}}, {sql: UPDATE x SET a = 1}]", "a.yaml:4: `b` is computed from `a`, which this job writes: if running it twice changes the value again, say `idempotent: false`"},
		{checked + "steps: [{update: {set: {b: t.a + 1}}}, {sql: UPDATE y SET a = 1}]", ""},
		{"where: t.a IS NULL\nupdate: {set: {a: 1}}", "a.yaml:3: `where` mentions `a`," + residual},
		{"where: t.b IS NULL\nupdate: {set: {a: x.a}, from: x, join: x.id = t.a}", "a.yaml:4: `join` mentions `a`," + residual},
		{"where: t.b IS NULL\nupdate: {set: {a: 1}}", ""},
		{"where: t.a IS NULL\nupdate: {set: {a: 1}}\nundo: capture", ""},
		{checked + "where: t.a IS NULL\nupdate: {set: {a: 1}}", ""},
		{
			"params: {p: 1, q: 2}\nhelpers: {h: {sql: SELECT 1}, i: {sql: 'SELECT :q'}}\nupdate: {set: {a: \"(SELECT 1 FROM {{helper i}})\"}}",
			"a.yaml:3: the parameter :p is never used\na.yaml:4: the helper h is never used",
		},
	} {
		jobs, err := parse("a.yaml", []byte("name: n\ntable: x\n"+c.job+"\n"), true)
		if err != nil {
			t.Errorf("%s: %v", c.job, err)
			continue
		}
		w := warnings{job: jobs[0], supported: func(string) bool { return true }}
		if got := strings.Join(w.all(), "\n"); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.job, got, c.want)
		}
	}
}
