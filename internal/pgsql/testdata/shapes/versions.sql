-- versions
WITH wrong AS MATERIALIZED (
  SELECT m.n, CAST(m.k1 AS bigint) AS k1, CAST(m.k2 AS character(5)) COLLATE "pg_catalog"."C" AS k2
  FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[])) WITH ORDINALITY AS m (k1, k2, n)
)
SELECT wrong.n, pg_catalog.min(t.xmin::pg_catalog.text), pg_catalog.count(*)
FROM wrong JOIN "public"."users" AS t ON t."id" OPERATOR(pg_catalog.=) wrong.k1 AND t."Co""de" OPERATOR(pg_catalog.=) wrong.k2
GROUP BY wrong.n;
-- $1 = "{\"5\"}"
-- $2 = "{\"5\"}"
