-- partitions
WITH RECURSIVE tree(oid) AS (
  SELECT $1::pg_catalog.oid
  UNION
  SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_inherits AS i ON i.inhparent OPERATOR(pg_catalog.=) tree.oid AND NOT i.inhdetachpending
)
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
ORDER BY n.nspname, c.relname;
-- $1 = "16384"
-- $2 = "{\"display_name\"}"
-- $3 = "f"
