package pgsql

import (
	"fmt"
	"strings"
)

// History is what a run kept of the walked table's rows, for a proof of what it did to each of them. Rows leave the scope by
// being filled; whether they were filled rightly shows in what they held before.
//
// A row is taken as it was before the run's last write to it: what the run wrote is as it was kept, and the rest as it is
// now. Where nobody has written the row since, which its xmin says, that is the very row that the run read. Where
// somebody has, its written columns are still those of before; only where a value is computed from these very columns
// does what somebody else wrote to them since count instead.
type History struct {
	Capture Capture
	// Columns are all columns of the table, in order.
	Columns []string
	// Own is set where a value is computed from columns that the job writes.
	Own bool
}

// Knows reports whether of each of the columns it was kept what updates did to it.
func (h *History) Knows(set []SetColumn) bool {
	for _, s := range set {
		if k, ok := h.kept(s.Name); !ok || !k.Updated || k.Generated {
			return false
		}
	}
	return true
}

func (h *History) kept(name string) (KeptColumn, bool) {
	for _, k := range h.Capture.Kept {
		if k.Name == name {
			return k, true
		}
	}
	return KeptColumn{}, false
}

func (k KeptColumn) old(alias string) string {
	return fmt.Sprintf("CAST(%s.%s AS %s)", alias, k.before(), typeName(k.Type))
}

func (k KeptColumn) written(alias string) string {
	return fmt.Sprintf("CAST(%s.%s AS %s)", alias, k.after(), typeName(k.Type))
}

// then are the rows of a range as they were, with what the written columns hold now and what became of the row:
// kept, that the run wrote it; ours, that nobody has since; over, that the written columns hold something else since.
// inside is whether it was in scope.
func (c Change) then(f *filling) string {
	h, rng := c.History, f.rng()
	columns, changed := make([]string, 0, len(h.Columns)+len(c.Set)), make([]string, len(c.Set))
	isSet := map[string]bool{}
	for i, s := range c.Set {
		k, _ := h.kept(s.Name)
		changed[i] = s.Compare.differ("t."+Ident(s.Name), k.written("e"))
		isSet[s.Name] = true
	}
	for _, name := range h.Columns {
		now := "t." + Ident(name)
		k, kept := h.kept(name)
		condition := ""
		switch {
		case !kept || !k.Updated:
		case isSet[name] && h.Own:
			condition = "pgbackfill_is.kept AND NOT pgbackfill_is.over"
		case isSet[name]:
			condition = "pgbackfill_is.kept"
		case k.Generated:
			condition = "pgbackfill_is.ours"
		default: // a trigger may have changed it
			condition = "pgbackfill_is.kept AND NOT (" + CompareImage.differ(now, k.written("e")) + ")"
		}
		if condition == "" {
			columns = append(columns, now)
			continue
		}
		columns = append(columns, fmt.Sprintf("CASE WHEN %s THEN %s ELSE %s END AS %s", condition, k.old("e"), now, Ident(name)))
	}
	for i, s := range c.Set {
		columns = append(columns, fmt.Sprintf("t.%s AS pgbackfill_now_%d", Ident(s.Name), i+1))
	}
	inside, row, from := "true", "t", "pgbackfill_then AS t"
	if where := f.where(); where != "" {
		inside = where + " IS TRUE"
		if c.WholeRow != nil {
			row, from = "pgbackfill_one", c.wholeRow("pgbackfill_then")
		}
	}
	return fmt.Sprintf(`WITH pgbackfill_then AS MATERIALIZED (
  SELECT t.tableoid AS pgbackfill_table, t.ctid AS pgbackfill_row, pgbackfill_is.kept AS pgbackfill_kept,
         pgbackfill_is.ours AS pgbackfill_ours, pgbackfill_is.over AS pgbackfill_over,
         %s
  FROM %s AS t
       LEFT JOIN LATERAL (
         SELECT u.*, u.xmin AS pgbackfill_xmin FROM %s AS u
         WHERE u.op OPERATOR(pg_catalog.=) 'u' AND %s
         ORDER BY u.id DESC LIMIT 1) AS e ON true
       CROSS JOIN LATERAL (
         SELECT e.op IS NOT NULL AS kept, COALESCE(t.xmin OPERATOR(pg_catalog.=) e.pgbackfill_xmin, false) AS ours,
                e.op IS NOT NULL AND (%s) AS over) AS pgbackfill_is
  WHERE %s
), pgbackfill_judged AS MATERIALIZED (
  SELECT %s.*, %s AS pgbackfill_inside
  FROM %s
), pgbackfill_scoped AS MATERIALIZED (
  SELECT t.* FROM pgbackfill_judged AS t WHERE t.pgbackfill_inside
),`, strings.Join(columns, ",\n         "), c.Table, h.Capture.Store(), h.Capture.same("u", "t", true, false), strings.Join(changed, "\n                OR "), rng, row, inside, from)
}

// outside is true of a row that the run changed though it was not in scope. That is certain where nobody has written the
// row since: what else the scope speaks of is then as it was.
func (c Change) outside(alias string) string {
	return fmt.Sprintf("%[1]s.pgbackfill_ours AND NOT %[1]s.pgbackfill_inside AND (%[2]s)", alias, strings.Join(c.changes(alias), "\n        OR "))
}

// changes says of each column whether it holds something else now than it did.
func (c Change) changes(alias string) []string {
	list := make([]string, len(c.Set))
	for i, s := range c.Set {
		list[i] = s.Compare.differ(fmt.Sprintf("%s.pgbackfill_now_%d", alias, i+1), alias+"."+Ident(s.Name))
	}
	return list
}

// proofOfHistory is [Change.Proof] for rows as they were. Its answer has three counts more: the wrong rows whose written
// columns somebody has changed since; those, among the wrong, that were not in scope; and the rows, not among them, that
// the run wrote and that are in scope no more by what others changed.
func (c Change) proofOfHistory(f *filling) string {
	return fmt.Sprintf(`%s
SELECT (SELECT pg_catalog.count(*) FROM pgbackfill_scoped), pg_catalog.count(*),
       pg_catalog.count(*) FILTER (WHERE met.times OPERATOR(pg_catalog.>) 1),
       pg_catalog.count(*) FILTER (WHERE met.wrong),
       pg_catalog.count(*) FILTER (WHERE met.wrong AND met.over),
       (SELECT pg_catalog.count(*) FROM pgbackfill_judged AS j WHERE %s),
       (SELECT pg_catalog.count(*) FROM pgbackfill_judged AS j WHERE j.pgbackfill_kept AND NOT j.pgbackfill_ours AND NOT j.pgbackfill_inside)
FROM (
  SELECT pg_catalog.count(*) AS times, pg_catalog.bool_and(%s) AS wrong, pg_catalog.bool_or(new.pgbackfill_over) AS over
  FROM pgbackfill_new AS new GROUP BY pgbackfill_table, pgbackfill_row) AS met`,
		c.met(f), c.outside("j"), strings.Join(c.differences(metOld, metNew), "\n        OR "))
}

// wrongOfHistory is [Change.Wrong] for rows as they were, and says last of each row whether its written columns were
// changed since. What a row should hold that was not in scope is what it held.
func (c Change) wrongOfHistory(f *filling, most int, values bool) string {
	met, differ := c.met(f), c.differences(metOld, metNew)
	text := func(v string) string { return fmt.Sprintf(`%s::pg_catalog.text COLLATE "pg_catalog"."C"`, v) }
	var wrong, outside, keys, groups []string
	named := make([]KeyColumn, len(c.Key))
	for i, k := range c.Key {
		key := fmt.Sprintf("pgbackfill_key_%d", i+1)
		keys, groups, wrong = append(keys, key), append(groups, "new."+key), append(wrong, "new."+key)
		outside = append(outside, "j."+Ident(k.Name))
		named[i] = k
		named[i].Name = key
	}
	for i, changed := range c.changes("j") {
		wrong, outside = append(wrong, "pg_catalog.bool_or("+differ[i]+")"), append(outside, changed)
	}
	for i, s := range c.Set {
		if values {
			wrong = append(wrong, "pg_catalog.min("+text(metOld(i))+")", "pg_catalog.min("+text(metNew(i))+")")
			outside = append(outside, text(fmt.Sprintf("j.pgbackfill_now_%d", i+1)), text("j."+Ident(s.Name)))
		}
	}
	wrong, outside = append(wrong, "pg_catalog.bool_or(new.pgbackfill_over)"), append(outside, "false")
	for i := len(keys); i < len(wrong); i++ {
		keys = append(keys, fmt.Sprintf("c%d", i+1))
	}
	return fmt.Sprintf("%s\nSELECT w.*\nFROM (\n  SELECT %s\n  FROM pgbackfill_new AS new\n  GROUP BY pgbackfill_table, pgbackfill_row, %s\n  HAVING pg_catalog.bool_and(%s)\n  UNION ALL\n  SELECT %s\n  FROM pgbackfill_judged AS j\n  WHERE %s) AS w (%s)\nORDER BY %s\nLIMIT %d",
		met, strings.Join(wrong, ",\n         "), strings.Join(groups, ", "), strings.Join(differ, "\n        OR "),
		strings.Join(outside, ",\n         "), c.outside("j"), strings.Join(keys, ", "), OrderBy(named, "w", false), most)
}

// deleted are the rows of a range that the run deleted, as t, and that are not there again, with whether they were in scope.
func (h *History) deleted(f *filling) string {
	c := h.Capture
	columns := make([]string, len(h.Columns))
	stored := map[string]string{}
	for i, k := range c.Key {
		stored[k.Name] = "u." + c.key(i)
	}
	for i, name := range h.Columns {
		if k, ok := h.kept(name); ok {
			stored[name] = k.old("u")
		}
		if stored[name] == "" { // added since
			stored[name] = "NULL"
		}
		columns[i] = stored[name] + " AS " + Ident(name)
	}
	walked := make([]string, len(f.Key))
	for i, k := range f.Key {
		walked[i] = stored[k.Name]
	}
	inside := "true"
	rng := f.part.Range.where(f.b, f.Key, walked)
	if where := f.where(); where != "" {
		inside = where + " IS TRUE"
	}
	return fmt.Sprintf(`WITH pgbackfill_gone AS MATERIALIZED (
  SELECT %s
  FROM %s AS u
  WHERE u.op OPERATOR(pg_catalog.=) 'd' AND %s
    AND NOT EXISTS (SELECT FROM %s AS t WHERE %s)
), pgbackfill_judged AS MATERIALIZED (
  SELECT t.*, %s AS pgbackfill_inside
  FROM pgbackfill_gone AS t
)`, strings.Join(columns, ", "), c.Store(), rng, c.Table, c.same("t", "u", false, true), inside)
}

// Gone counts the rows of a part that the run deleted, and those of them that were not in scope.
func (s Scope) Gone(p Part, h *History) (Statement, error) {
	f := s.filling(p)
	sql := h.deleted(f) + "\nSELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE NOT j.pgbackfill_inside)\nFROM pgbackfill_judged AS j"
	return Statement{Name: "gone", SQL: sql, Args: f.b.Args()}, f.err
}

// GoneKeys are the keys of up to most of the rows that [Scope.Gone] counts as not in scope, the first ones in the key's order.
func (s Scope) GoneKeys(p Part, h *History, most int) (Statement, error) {
	f := s.filling(p)
	sql := fmt.Sprintf("%s\nSELECT %s\nFROM pgbackfill_judged AS j\nWHERE NOT j.pgbackfill_inside\nORDER BY %s\nLIMIT %d",
		h.deleted(f), strings.Join(keyColumns(s.Key, "j"), ", "), OrderBy(s.Key, "j", false), most)
	return Statement{Name: "rows gone", SQL: sql, Args: f.b.Args()}, f.err
}
