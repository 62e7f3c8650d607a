package pgsql

// GateScope judges what the newest verification has counted outside of the job's scope, for a job that has one: rows that keep
// the only copy of something in a column that will be dropped.
func GateScope(a GateAbout) Statement {
	here, elsewhere := []string{}, []string{}
	for i, r := range a.Relations {
		if r == a.Table {
			here = append(here, a.Columns[i])
		} else {
			elsewhere = append(elsewhere, a.Columns[i])
		}
	}
	return Statement{
		Name: "scope", SQL: `WITH v AS (SELECT * FROM pgbackfill.verifications WHERE job = $1::text AND state = 'ended' ORDER BY id DESC LIMIT 1),
s AS (SELECT v.id, c->'scope' AS s FROM v, jsonb_array_elements(v.checks) AS c WHERE jsonb_typeof(c->'scope') = 'object' LIMIT 1)
SELECT 'unknown', 'no verification has ended: nobody has looked at the rows outside of the scope' WHERE NOT EXISTS (SELECT FROM v)
UNION ALL SELECT 'unknown', format('verification %s has not counted the rows outside of the scope: verify again', v.id) FROM v WHERE NOT EXISTS (SELECT FROM s)
UNION ALL SELECT 'unknown', format('verification %s has not looked at %s in the rows outside of the scope: verify again', s.id, n.n) FROM s, unnest($2::text[]) AS n(n) WHERE NOT COALESCE(s.s->'dropped' ? n.n, false)
UNION ALL SELECT 'unknown', format('%s is not of the walked table: which of its values the scope leaves out nobody has counted', n.n) FROM unnest($3::text[]) AS n(n)
UNION ALL SELECT 'unknown', format('verification %s was made by an earlier version of pgbackfill, which counted the columns together: verify again', s.id) FROM s WHERE s.s->'only' IS NULL AND jsonb_array_length(s.s->'dropped') > 1
UNION ALL SELECT 'fail', format('%s of %s rows are not in scope and have a value in %s, and none in what replaces it: the only copy would be dropped', COALESCE(s.s->'only'->>(d.no - 1)::int, s.s->>'alone'), s.s->>'rows', d.name)
  FROM s, jsonb_array_elements_text(s.s->'dropped') WITH ORDINALITY AS d(name, no) WHERE COALESCE(s.s->'only'->>(d.no - 1)::int, s.s->>'alone')::bigint > 0
UNION ALL SELECT 'unknown', format('%s of %s rows are not in scope and have a value in %s and in what replaces it: nobody has compared them', s.s->>'beside', s.s->>'rows', array_to_string($2::text[], ', ')) FROM s WHERE (s.s->>'beside')::bigint > 0
UNION ALL SELECT 'pass', format('%s of %s rows are in scope; none of the others has in %s the only copy of something', s.s->>'inside', s.s->>'rows', array_to_string($2::text[], ', ')) FROM s`,
		Args: [][]byte{Text(a.Job), TextArray(here), TextArray(elsewhere)},
	}
}
