package pgsql

// leaves are the tables that hold the rows of the partitioned table $1, each with the parents above it. A partition that is being
// detached is none any more for who looks now.
const leaves = `WITH RECURSIVE tree(oid) AS (
  SELECT $1::pg_catalog.oid
  UNION
  SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_inherits AS i ON i.inhparent OPERATOR(pg_catalog.=) tree.oid AND NOT i.inhdetachpending
)`

// Leaves lists the tables that hold the rows of a partitioned table, by name: its oid, its quoted name, how many pages it has, which file
// they are in, how many rows and pages the last VACUUM or ANALYZE counted (rows is -1 where there was none), what kind of
// relation it is ("r" is a table) and its access method; whether the role may use its schema, read it, and write the given columns
// of it, or delete its rows; and whether row security applies to the role. Pages are those of the moment, not of the snapshot.
func Leaves(parent uint32, writes []string, deletes bool) Statement {
	privilege := "f"
	if deletes {
		privilege = "t"
	}
	return Statement{
		Name: "partitions",
		SQL: leaves + `
SELECT c.oid,
       pg_catalog.quote_ident(n.nspname) OPERATOR(pg_catalog.||) '.' OPERATOR(pg_catalog.||) pg_catalog.quote_ident(c.relname),
       COALESCE(pg_catalog.pg_relation_size(c.oid::pg_catalog.regclass), 0) OPERATOR(pg_catalog./) pg_catalog.current_setting('block_size')::pg_catalog.int8,
       COALESCE(pg_catalog.pg_relation_filenode(c.oid::pg_catalog.regclass), 0),
       c.reltuples, c.relpages, c.relkind, COALESCE(m.amname, ''),
       pg_catalog.has_schema_privilege(n.oid, 'USAGE'),
       pg_catalog.has_table_privilege(c.oid, 'SELECT'),
       NOT EXISTS (SELECT FROM pg_catalog.unnest($2::pg_catalog.text[]) AS w WHERE NOT pg_catalog.has_column_privilege(c.oid, w, 'UPDATE'))
         AND (NOT $3::pg_catalog.bool OR pg_catalog.has_table_privilege(c.oid, 'DELETE')),
       pg_catalog.row_security_active(c.oid)
FROM tree
     JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) tree.oid AND c.relkind OPERATOR(pg_catalog.<>) 'p'
     JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
     LEFT JOIN pg_catalog.pg_am AS m ON m.oid OPERATOR(pg_catalog.=) c.relam
ORDER BY n.nspname, c.relname`,
		Args: [][]byte{Int(int64(parent)), TextArray(append([]string{}, writes...)), Text(privilege)},
	}
}

// Leaf is the quoted name of a table where it holds rows of a partitioned one, and no row where it does not. In a transaction that has
// written to it the answer stays true to the end: who detaches it waits.
func Leaf(parent, leaf uint32) Statement {
	return Statement{
		Name: "partition",
		SQL: `WITH RECURSIVE above(oid) AS (
  SELECT $2::pg_catalog.oid
  UNION
  SELECT i.inhparent FROM above JOIN pg_catalog.pg_inherits AS i ON i.inhrelid OPERATOR(pg_catalog.=) above.oid AND NOT i.inhdetachpending
)
SELECT pg_catalog.quote_ident(n.nspname) OPERATOR(pg_catalog.||) '.' OPERATOR(pg_catalog.||) pg_catalog.quote_ident(c.relname)
FROM pg_catalog.pg_class AS c
     JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.oid OPERATOR(pg_catalog.=) $2::pg_catalog.oid
  AND EXISTS (SELECT FROM above WHERE above.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid)`,
		Args: [][]byte{Int(int64(parent)), Int(int64(leaf))},
	}
}

// PartitionColumns lists the columns that choose the partition of a row, at any level of a partitioned table, also those within expressions.
func PartitionColumns(parent uint32) Statement {
	return Statement{
		Name: "partition key",
		SQL: leaves + `
SELECT DISTINCT a.attname
FROM tree
     JOIN pg_catalog.pg_partitioned_table AS p ON p.partrelid OPERATOR(pg_catalog.=) tree.oid
     JOIN pg_catalog.pg_depend AS d ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid OPERATOR(pg_catalog.=) tree.oid
       AND d.refclassid OPERATOR(pg_catalog.=) d.classid AND d.refobjid OPERATOR(pg_catalog.=) d.objid AND d.refobjsubid OPERATOR(pg_catalog.=) 0
       AND d.deptype OPERATOR(pg_catalog.=) 'i'
     JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) d.objid AND a.attnum OPERATOR(pg_catalog.=) d.objsubid
ORDER BY a.attname`,
		Args: [][]byte{Int(int64(parent))},
	}
}

// Horizon is the oldest transaction that was open when the snapshot was taken that the statement looks with.
var Horizon = Statement{Name: "horizon", SQL: "SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())"}
