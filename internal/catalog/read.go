package catalog

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
)

// tree names the table and everything below it: its partitions, theirs, and tables that inherit from it.
const tree = `WITH RECURSIVE tree(oid) AS (
  SELECT $1::oid
  UNION
  SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_inherits AS i ON i.inhparent = tree.oid
)`

// quoted is the qualified name of the relation c in the schema n.
const quoted = `quote_ident(n.nspname) || '.' || quote_ident(c.relname)`

// ReadTable reads the shape of a table. An empty schema is looked up on the search path of s. A table that is not
// there, or is no table, is a *[Problem].
func ReadTable(ctx context.Context, conn *pgx.Conn, s Server, schema, name string) (Table, error) {
	r, err := resolve(ctx, conn, s, schema, name)
	if err != nil {
		return Table{}, err
	}
	t := Table{OID: r.OID, Schema: r.Schema, Name: r.Name, Partitioned: r.Kind == "p"}
	err = read(ctx, conn, slices.Concat(
		[]question{t.self(), t.tree(), t.size(s), t.columns()}, t.indexes(), []question{t.triggers(), t.constraints(), t.publications(s)},
	)...)
	if err != nil {
		return Table{}, err
	}
	return t, nil
}

const selfSQL = `
SELECT ` + quoted + `, pg_get_userbyid(c.relowner)::text, c.relpersistence = 'u',
       c.relrowsecurity, row_security_active(c.oid),
       has_table_privilege(c.oid, 'SELECT'), has_table_privilege(c.oid, 'UPDATE'), has_column_privilege(c.oid, 'xmin', 'SELECT'), has_schema_privilege(n.oid, 'USAGE'), pg_has_role(c.relowner, 'USAGE'),
       ARRAY(SELECT r.rulename::text FROM pg_catalog.pg_rewrite AS r WHERE r.ev_class = c.oid ORDER BY r.rulename),
       ARRAY(SELECT a.attname::text
             FROM pg_catalog.pg_partitioned_table AS p, pg_catalog.pg_attribute AS a
             WHERE p.partrelid = c.oid AND a.attrelid = c.oid AND a.attnum = ANY (p.partattrs::int2[])
             ORDER BY a.attnum)
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.oid = $1`

func (t *Table) self() question {
	type row struct {
		Quoted, Owner                               string
		Unlogged, Security, Applies                 bool
		MaySelect, MayUpdate, MaySelectXmin, MayUse bool
		MayAlter                                    bool
		Rules, PartitionKey                         []string
	}
	return aboutOne("the table", selfSQL, func(r row) {
		t.Quoted, t.Owner, t.Unlogged = r.Quoted, r.Owner, r.Unlogged
		t.RowSecurity, t.RowSecurityApplies = r.Security, r.Applies
		t.MaySelect, t.MayUpdate, t.MaySelectXmin, t.MayUse, t.MayAlter = r.MaySelect, r.MayUpdate, r.MaySelectXmin, r.MayUse, r.MayAlter
		t.Rules, t.PartitionKey = r.Rules, r.PartitionKey
	}, t.OID)
}

const treeSQL = tree + `
SELECT ` + quoted + `, c.relkind::text, c.relispartition
FROM tree JOIN pg_catalog.pg_class AS c ON c.oid = tree.oid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.oid <> $1
ORDER BY n.nspname, c.relname`

func (t *Table) tree() question {
	type row struct {
		Quoted, Kind string
		Partition    bool
	}
	return about("the partitions", treeSQL, func(rows []row) {
		for _, r := range rows {
			switch {
			case !r.Partition:
				t.Children = append(t.Children, r.Quoted)
			case r.Kind != "p":
				t.Partitions = append(t.Partitions, r.Quoted)
			}
			if r.Kind == "f" {
				t.Foreign = append(t.Foreign, r.Quoted)
			}
		}
	}, t.OID)
}

const sizeSQL = tree + `
SELECT coalesce(sum(c.relpages), 0)::int8,
       coalesce(sum(c.reltuples) FILTER (WHERE c.reltuples >= 0), -1)::float8,
       coalesce(sum(pg_relation_size(c.oid)), 0)::int8,
       coalesce(sum(pg_table_size(c.oid)), 0)::int8,
       coalesce(sum(pg_indexes_size(c.oid)), 0)::int8,
       coalesce(min(coalesce(o.fillfactor, 100)), 100)::int4,
       coalesce(bool_or(c.reltoastrelid <> 0), false),
       coalesce(max(greatest(age(c.relfrozenxid), age(s.relfrozenxid))), 0)::int8,
       coalesce(array_agg(` + quoted + ` ORDER BY n.nspname, c.relname) FILTER (WHERE o.off), '{}')
FROM tree
     JOIN pg_catalog.pg_class AS c ON c.oid = tree.oid
     JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
     LEFT JOIN pg_catalog.pg_class AS s ON s.oid = c.reltoastrelid
     CROSS JOIN LATERAL (
       SELECT max(option_value::int4) FILTER (WHERE option_name = 'fillfactor') AS fillfactor,
              coalesce(bool_or(NOT option_value::bool) FILTER (WHERE option_name = 'autovacuum_enabled'), false) AS off
       FROM pg_options_to_table(c.reloptions)
       WHERE option_name IN ('fillfactor', 'autovacuum_enabled')) AS o
WHERE c.relkind = 'r'`

func (t *Table) size(s Server) question {
	type row struct {
		Pages              int64
		Rows               float64
		Main, Bytes, Index int64
		FillFactor         int
		Toasted            bool
		FrozenAge          int64
		Off                []string
	}
	return aboutOne("the table's size", sizeSQL, func(r row) {
		t.Pages, t.Rows, t.CurrentPages = r.Pages, r.Rows, r.Main/s.BlockSize
		t.Bytes, t.IndexBytes, t.FillFactor, t.Toasted = r.Bytes, r.Index, r.FillFactor, r.Toasted
		t.FrozenAge, t.AutovacuumOff = r.FrozenAge, r.Off
	}, t.OID)
}

const triggersSQL = tree + `
SELECT g.tgname::text, ` + quoted + `, g.tgfoid::regprocedure::text, pg_get_triggerdef(g.oid),
       (g.tgtype & 16) <> 0,
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute AS a
             WHERE a.attrelid = g.tgrelid AND a.attnum = ANY (g.tgattr::int2[]) ORDER BY a.attnum),
       (g.tgtype & 2) <> 0,
       CASE WHEN (g.tgtype & 1) <> 0 THEN 'row' ELSE 'statement' END,
       g.tgenabled IN ('O', 'A'),
       (g.tgtype & 4) <> 0, (g.tgtype & 8) <> 0
FROM tree
     JOIN pg_catalog.pg_trigger AS g ON g.tgrelid = tree.oid
     JOIN pg_catalog.pg_class AS c ON c.oid = g.tgrelid
     JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT g.tgisinternal
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger AS p JOIN tree AS above ON above.oid = p.tgrelid WHERE p.oid = g.tgparentid)
ORDER BY c.oid <> $1, n.nspname, c.relname, g.tgname`

func (t *Table) triggers() question {
	return about("the triggers", triggersSQL, func(rows []Trigger) { t.Triggers = rows }, t.OID)
}

// A NOT NULL is a constraint from PostgreSQL 18 on (contype n); it is of interest where old rows may break it.
const constraintsSQL = `
SELECT k.conname::text,
       CASE k.contype WHEN 'c' THEN 'check' WHEN 'n' THEN 'not null' ELSE CASE WHEN k.conrelid = $1 THEN 'foreign key' ELSE 'referenced' END END,
       coalesce((SELECT ` + quoted + ` FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
                 WHERE k.contype = 'f' AND c.oid = CASE WHEN k.conrelid = $1 THEN k.confrelid ELSE k.conrelid END), ''),
       ARRAY(SELECT a.attname::text
             FROM unnest(CASE WHEN k.conrelid = $1 THEN k.conkey ELSE k.confkey END) WITH ORDINALITY AS u(attnum, place)
                  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = $1 AND a.attnum = u.attnum
             ORDER BY u.place),
       CASE k.confupdtype WHEN 'a' THEN 'no action' WHEN 'r' THEN 'restrict' WHEN 'c' THEN 'cascade'
                          WHEN 'n' THEN 'set null' WHEN 'd' THEN 'set default' ELSE '' END,
       CASE k.confdeltype WHEN 'a' THEN 'no action' WHEN 'r' THEN 'restrict' WHEN 'c' THEN 'cascade'
                          WHEN 'n' THEN 'set null' WHEN 'd' THEN 'set default' ELSE '' END,
       k.convalidated,
       coalesce((to_jsonb(k) ->> 'conenforced')::bool, true), -- a column that PostgreSQL 18 has
       CASE WHEN k.contype = 'n' THEN 'NOT NULL ' || (SELECT quote_ident(a.attname) FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = $1 AND a.attnum = k.conkey[1]) || ' NOT VALID' ELSE pg_get_constraintdef(k.oid) END
FROM pg_catalog.pg_constraint AS k
WHERE (k.conrelid = $1 AND (k.contype IN ('c', 'f') OR k.contype = 'n' AND NOT k.convalidated) OR k.confrelid = $1 AND k.contype = 'f') AND k.conparentid = 0
ORDER BY k.contype, k.conname, k.oid`

func (t *Table) constraints() question {
	return about("the constraints", constraintsSQL, func(rows []Constraint) { t.Constraints = rows }, t.OID)
}

const publicationsSQL = tree + `,
up(leaf, oid) AS (
  SELECT tree.oid, tree.oid FROM tree
  UNION
  SELECT up.leaf, i.inhparent
  FROM up JOIN pg_catalog.pg_class AS c ON c.oid = up.oid AND c.relispartition JOIN pg_catalog.pg_inherits AS i ON i.inhrelid = up.oid
)
SELECT ` + quoted + `, array_agg(DISTINCT p.pubname::text ORDER BY p.pubname::text), c.relreplident = 'f',
       c.relreplident = 'f' OR EXISTS (
         SELECT FROM pg_catalog.pg_index AS x
         WHERE x.indrelid = c.oid AND x.indislive
           AND (c.relreplident = 'd' AND x.indisprimary OR c.relreplident = 'i' AND x.indisreplident))
FROM up
     JOIN pg_catalog.pg_class AS c ON c.oid = up.leaf
     JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
     JOIN pg_catalog.pg_class AS above ON above.oid = up.oid
     JOIN pg_catalog.pg_publication AS p ON p.pubupdate AND (
       p.puballtables
       OR EXISTS (SELECT FROM pg_catalog.pg_publication_rel AS r WHERE r.prpubid = p.oid AND r.prrelid = up.oid)`

// publicationsOfSchema is what PostgreSQL 15 added.
const publicationsOfSchema = `
       OR EXISTS (SELECT FROM pg_catalog.pg_publication_namespace AS s WHERE s.pnpubid = p.oid AND s.pnnspid = above.relnamespace)`

const publicationsEndSQL = `)
WHERE c.relkind = 'r' AND c.relpersistence = 'p'
GROUP BY c.oid, n.nspname, c.relname, c.relreplident
ORDER BY 1`

func (t *Table) publications(s Server) question {
	type row struct {
		Quoted         string
		Publications   []string
		Full, Identity bool
	}
	sql := publicationsSQL
	if s.Version >= 150000 {
		sql += publicationsOfSchema
	}
	return about("the publications", sql+publicationsEndSQL, func(rows []row) {
		for _, r := range rows {
			t.Publications = append(t.Publications, r.Publications...)
			if r.Full {
				t.FullIdentity = append(t.FullIdentity, r.Quoted)
			}
			if !r.Identity {
				t.NoIdentity = append(t.NoIdentity, r.Quoted)
			}
		}
		slices.Sort(t.Publications)
		t.Publications = slices.Compact(t.Publications)
	}, t.OID)
}
