-- partition
WITH RECURSIVE above(oid) AS (
  SELECT $2::pg_catalog.oid
  UNION
  SELECT i.inhparent FROM above JOIN pg_catalog.pg_inherits AS i ON i.inhrelid OPERATOR(pg_catalog.=) above.oid AND NOT i.inhdetachpending
)
SELECT pg_catalog.quote_ident(n.nspname) OPERATOR(pg_catalog.||) '.' OPERATOR(pg_catalog.||) pg_catalog.quote_ident(c.relname)
FROM pg_catalog.pg_class AS c
     JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.oid OPERATOR(pg_catalog.=) $2::pg_catalog.oid
  AND EXISTS (SELECT FROM above WHERE above.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid);
-- $1 = "16384"
-- $2 = "16390"
