package catalog

import "slices"

const indexesSQL = `
SELECT x.indexrelid, c.relname::text, m.amname::text, x.indisunique, x.indisprimary,
       x.indisvalid AND x.indisready AND x.indislive,
       x.indpred IS NOT NULL, NOT x.indimmediate,
       coalesce((to_jsonb(x) ->> 'indnullsnotdistinct')::bool, false), -- a column that PostgreSQL 14 lacks
       pg_get_indexdef(x.indexrelid),
       ARRAY(SELECT a.attname::text
             FROM pg_catalog.pg_depend AS d JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
             WHERE (x.indexprs IS NOT NULL OR x.indpred IS NOT NULL)
               AND d.classid = 'pg_class'::regclass AND d.objid = x.indexrelid
               AND d.refclassid = 'pg_class'::regclass AND d.refobjid = x.indrelid AND d.refobjsubid > 0
             ORDER BY a.attnum)
FROM pg_catalog.pg_index AS x
     JOIN pg_catalog.pg_class AS c ON c.oid = x.indexrelid
     JOIN pg_catalog.pg_am AS m ON m.oid = c.relam
WHERE x.indrelid = $1
ORDER BY x.indexrelid`

const indexColumnsSQL = `
SELECT x.indexrelid, coalesce(a.attname::text, ''), u.place > x.indnkeyatts,
       coalesce(x.indoption[u.place - 1] & 1, 0) <> 0, coalesce(x.indoption[u.place - 1] & 2, 0) <> 0,
       coalesce(quote_ident(cn.nspname) || '.' || quote_ident(oc.opcname), ''),
       coalesce(CASE WHEN oc.opcmethod = 403 THEN ` + operators + ` END, '{}'),
       coalesce(quote_ident(ln.nspname) || '.' || quote_ident(l.collname), ''),
       coalesce(l.collisdeterministic, true),
       coalesce(CASE WHEN l.collprovider = 'd' THEN to_jsonb(b) ->> 'datcollversion' ELSE l.collversion END, '')
FROM pg_catalog.pg_index AS x
     CROSS JOIN LATERAL (SELECT attnum, place::int4 FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS u(attnum, place)) AS u
     LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = x.indrelid AND a.attnum = u.attnum
     LEFT JOIN pg_catalog.pg_opclass AS oc ON u.place <= x.indnkeyatts AND oc.oid = x.indclass[u.place - 1]
     LEFT JOIN pg_catalog.pg_namespace AS cn ON cn.oid = oc.opcnamespace
     LEFT JOIN pg_catalog.pg_collation AS l ON u.place <= x.indnkeyatts AND l.oid = x.indcollation[u.place - 1]
     LEFT JOIN pg_catalog.pg_namespace AS ln ON ln.oid = l.collnamespace
     JOIN pg_catalog.pg_database AS b ON b.datname = current_database()
WHERE x.indrelid = $1
ORDER BY x.indexrelid, u.place`

// indexes are asked for in two questions: the indexes, then their columns.
func (t *Table) indexes() []question {
	type row struct {
		OID                                                           uint32
		Name, Method                                                  string
		Unique, Primary, Valid, Partial, Deferrable, NullsNotDistinct bool
		Definition                                                    string
		Reads                                                         []string
	}
	type columnRow struct {
		Index uint32
		IndexColumn
	}
	return []question{
		about("the indexes", indexesSQL, func(rows []row) {
			for _, r := range rows {
				t.Indexes = append(t.Indexes, Index{
					OID: r.OID, Name: r.Name, Method: r.Method, Unique: r.Unique, Primary: r.Primary, Valid: r.Valid, Partial: r.Partial,
					Deferrable: r.Deferrable, NullsNotDistinct: r.NullsNotDistinct, Definition: r.Definition, Reads: r.Reads,
				})
			}
		}, t.OID),
		about("the columns of the indexes", indexColumnsSQL, func(rows []columnRow) {
			for _, r := range rows {
				i := slices.IndexFunc(t.Indexes, func(x Index) bool { return x.OID == r.Index })
				if i >= 0 { // an index made between the two statements is not seen at all
					t.Indexes[i].Columns = append(t.Indexes[i].Columns, r.IndexColumn)
				}
			}
		}, t.OID),
	}
}

// Touches reports whether the index has to be changed where one of the columns is.
func (x Index) Touches(columns []string) bool {
	for _, c := range columns {
		if slices.Contains(x.Reads, c) || slices.ContainsFunc(x.Columns, func(k IndexColumn) bool { return k.Name == c }) {
			return true
		}
	}
	return false
}

// keyColumns are the columns it is ordered by, without the INCLUDE ones.
func (x Index) keyColumns() []IndexColumn {
	n := slices.IndexFunc(x.Columns, func(c IndexColumn) bool { return c.Included })
	if n < 0 {
		return x.Columns
	}
	return x.Columns[:n]
}
