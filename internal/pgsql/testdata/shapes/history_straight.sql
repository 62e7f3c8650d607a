-- proof
WITH pgbackfill_scoped AS MATERIALIZED (
  SELECT t.tableoid AS pgbackfill_table, t.ctid AS pgbackfill_row, t.*
  FROM "public"."users" AS t
  WHERE ROW(t."id", t."Co""de") OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(t."id", t."Co""de") OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND t."Co""de" IS NOT NULL
    AND (t.seen > ($5::bigint)
)
), pgbackfill_new AS MATERIALIZED (
  SELECT t.pgbackfill_table, t.pgbackfill_row,
         t."id" AS pgbackfill_key_1,
         t."Co""de" AS pgbackfill_key_2,
         t."ssn_encrypted" AS pgbackfill_old_1,
         CAST((pgbackfill_out."ssn_encrypted"
) AS pg_catalog.bytea) AS pgbackfill_1,
         t."tags" AS pgbackfill_old_2,
         CAST((pgbackfill_out."tags"
) AS pg_catalog.text[]) AS pgbackfill_2
  FROM pgbackfill_scoped AS t,
       (SELECT u.c1 AS "id", u.c2 AS "Co""de", u.c3 AS "ssn_encrypted", CAST(u.c4 AS pg_catalog.text[]) AS "tags" FROM ROWS FROM (pg_catalog.unnest($6::bigint[]), pg_catalog.unnest($7::character(5)[]), pg_catalog.unnest($8::pg_catalog.bytea[]), pg_catalog.unnest($9::pg_catalog.text[])) AS u (c1, c2, c3, c4)) AS pgbackfill_out
  WHERE (t."id" OPERATOR(pg_catalog.=) pgbackfill_out."id" AND t."Co""de" OPERATOR(pg_catalog.=) pgbackfill_out."Co""de" COLLATE "pg_catalog"."C"
)
)
SELECT (SELECT pg_catalog.count(*) FROM pgbackfill_scoped),
       pg_catalog.count(*),
       pg_catalog.count(*) FILTER (WHERE met.times OPERATOR(pg_catalog.>) 1),
       pg_catalog.count(*) FILTER (WHERE met.wrong)
FROM (
  SELECT pg_catalog.count(*) AS times, pg_catalog.bool_and(new.pgbackfill_old_1 IS DISTINCT FROM CAST(new.pgbackfill_1 AS pg_catalog.bytea)
        OR ROW(new.pgbackfill_old_2)::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(CAST(new.pgbackfill_2 AS pg_catalog.text[]))::pg_catalog.record) AS wrong
  FROM pgbackfill_new AS new GROUP BY pgbackfill_table, pgbackfill_row) AS met;
-- $1 = "41"
-- $2 = "a,b"
-- $3 = "77"
-- $4 = ""
-- $5 = "5"
-- $6 = "{\"5\"}"
-- $7 = "{\"5\"}"
-- $8 = "{\"5\"}"
-- $9 = "{NULL}"
