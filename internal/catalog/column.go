package catalog

// operators are the five operators of the btree operator class oc, in the order of their strategies.
const operators = `(
  SELECT array_agg(quote_ident(n.nspname) || '.' || o.oprname ORDER BY a.amopstrategy)
  FROM pg_catalog.pg_amop AS a
       JOIN pg_catalog.pg_operator AS o ON o.oid = a.amopopr
       JOIN pg_catalog.pg_namespace AS n ON n.oid = o.oprnamespace
  WHERE a.amopfamily = oc.opcfamily AND a.amoplefttype = oc.opcintype AND a.amoprighttype = oc.opcintype AND a.amoppurpose = 's')`

// base follows domains down to the type they are made of, and elements those that an array is of: a cast to an array of a
// domain would cut its elements; class is that type's default btree operator class, by the
// rules of GetDefaultOpClass: the type's own, else one of a type it is the same bytes as, the preferred one first,
// else the one for all of its kind. pg_stats is asked by names that are parameters: joined to the table it would be read
// for all columns of the database, with a look at the privileges on each. nullable are the columns that may hold a NULL here or in a table
// below: one that inherits may lack its parent's NOT NULL, and from PostgreSQL 18 on there is a NOT NULL (contype n) that was never validated.
const columnsSQL = tree + `, nullable(name) AS MATERIALIZED (
  SELECT b.attname
  FROM tree JOIN pg_catalog.pg_attribute AS b ON b.attrelid = tree.oid
  WHERE b.attnum > 0 AND NOT b.attisdropped
    AND (NOT b.attnotnull OR EXISTS (
          SELECT FROM pg_catalog.pg_constraint AS k
          WHERE k.conrelid = b.attrelid AND k.contype = 'n' AND NOT k.convalidated AND b.attnum = ANY (k.conkey)))
)
SELECT a.attnum, a.attname::text, format_type(a.atttypid, a.atttypmod), a.atttypid, base.oid, format_type(coalesce(nullif(elements.typarray, 0), base.oid), -1), a.atttypmod,
       base.oid IN ('bool'::regtype, '"char"'::regtype, 'int8'::regtype, 'int2'::regtype, 'int4'::regtype, 'oid'::regtype,
                    'bytea'::regtype, 'uuid'::regtype, 'date'::regtype, 'time'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype),
       base.oid IN ('text'::regtype, 'varchar'::regtype, 'name'::regtype),
       coalesce(quote_ident(ln.nspname) || '.' || quote_ident(l.collname), ''),
       a.attname NOT IN (SELECT nullable.name FROM nullable), a.attgenerated <> '', a.attgenerated = 'v', a.attidentity = 'd', a.attidentity = 'a',
       coalesce(pg_get_expr(d.adbin, d.adrelid), ''),
       coalesce(class.operators, '{}'),
       CASE WHEN base.typlen > 0 THEN base.typlen ELSE coalesce(st.avg_width, 32) END::int8,
       coalesce(st.null_frac, -1)::float8, st.correlation::float8,
       has_column_privilege(a.attrelid, a.attnum, 'SELECT'), has_column_privilege(a.attrelid, a.attnum, 'UPDATE')
FROM pg_catalog.pg_attribute AS a
     JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
     CROSS JOIN LATERAL (
       WITH RECURSIVE down(oid, depth) AS (
         SELECT a.atttypid, 0
         UNION ALL
         SELECT y.typbasetype, depth + 1 FROM down JOIN pg_catalog.pg_type AS y ON y.oid = down.oid AND y.typtype = 'd'
       )
       SELECT y.oid, y.typtype, y.typcategory, y.typelem, y.typlen
       FROM down JOIN pg_catalog.pg_type AS y ON y.oid = down.oid ORDER BY depth DESC LIMIT 1) AS base
     LEFT JOIN LATERAL (
       WITH RECURSIVE down(oid, depth) AS (
         SELECT base.typelem, 0 WHERE base.typcategory = 'A' AND base.typelem <> 0
         UNION ALL
         SELECT y.typbasetype, depth + 1 FROM down JOIN pg_catalog.pg_type AS y ON y.oid = down.oid AND y.typtype = 'd'
       )
       SELECT y.typarray
       FROM down JOIN pg_catalog.pg_type AS y ON y.oid = down.oid WHERE depth > 0 ORDER BY depth DESC LIMIT 1
     ) AS elements ON true
     LEFT JOIN LATERAL (
       SELECT ` + operators + ` AS operators
       FROM pg_catalog.pg_opclass AS oc JOIN pg_catalog.pg_type AS y ON y.oid = oc.opcintype
       WHERE oc.opcmethod = 403 AND oc.opcdefault
         AND (oc.opcintype = base.oid
              OR oc.opcintype = 'anyenum'::regtype AND base.typtype = 'e'
              OR oc.opcintype = 'anyarray'::regtype AND base.typcategory = 'A' AND base.typelem <> 0
              OR oc.opcintype = 'anyrange'::regtype AND base.typtype = 'r'
              OR oc.opcintype = 'anymultirange'::regtype AND base.typtype = 'm'
              OR oc.opcintype = 'record'::regtype AND base.typtype = 'c'
              OR EXISTS (SELECT FROM pg_catalog.pg_cast AS k
                         WHERE k.castsource = base.oid AND k.casttarget = oc.opcintype AND k.castmethod = 'b' AND k.castcontext = 'i'))
       ORDER BY oc.opcintype = base.oid DESC, y.typispreferred DESC
       LIMIT 1) AS class ON true
     LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     LEFT JOIN pg_catalog.pg_collation AS l ON l.oid = a.attcollation
     LEFT JOIN pg_catalog.pg_namespace AS ln ON ln.oid = l.collnamespace
     LEFT JOIN pg_catalog.pg_stats AS st
       ON st.schemaname = $2::name AND st.tablename = $3::name AND st.attname = a.attname AND st.inherited = (c.relkind = 'p')
WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum`

func (t *Table) columns() question {
	type row struct {
		Number                   int16
		Name, Type               string
		TypeOID, BaseType        uint32
		BareType                 string
		Typmod                   int32
		Identical, Text          bool
		Collation                string
		NotNull                  bool
		Generated, Virtual       bool
		Identity, IdentityAlways bool
		Default                  string
		Operators                []string
		Width                    int64
		NullFraction             float64
		Correlation              *float64
		MaySelect, MayUpdate     bool
	}
	return about("the columns", columnsSQL, func(rows []row) {
		for _, r := range rows {
			c := Column{
				Number: r.Number, Name: r.Name, Type: r.Type, TypeOID: r.TypeOID, BaseType: r.BaseType, BareType: r.BareType, Typmod: r.Typmod,
				Compare: CompareImage, Collation: r.Collation, NotNull: r.NotNull, Generated: r.Generated, Virtual: r.Virtual, Identity: r.Identity,
				IdentityAlways: r.IdentityAlways, Default: r.Default, Operators: r.Operators, Width: r.Width,
				NullFraction: r.NullFraction, Correlation: r.Correlation, MaySelect: r.MaySelect, MayUpdate: r.MayUpdate,
			}
			switch {
			case r.Identical:
				c.Compare = CompareIdentity
			case r.Text:
				c.Compare = CompareCollateC
			}
			t.Columns = append(t.Columns, c)
		}
	}, t.OID, t.Schema, t.Name)
}
