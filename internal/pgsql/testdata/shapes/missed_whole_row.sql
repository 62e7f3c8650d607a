-- missed
WITH pgbackfill_scoped AS MATERIALIZED (
  SELECT t.*,
         false AS pgbackfill_since,
         true AS pgbackfill_written
  FROM "public"."users" AS t
  WHERE ROW(t."id", t."Co""de") OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(t."id", t."Co""de") OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND t."Co""de" IS NOT NULL
    AND (t.display_name IS NULL
)
)
SELECT pg_catalog.count(*) FILTER (WHERE pgbackfill_written AND NOT pgbackfill_since),
       pg_catalog.count(*) FILTER (WHERE pgbackfill_written AND pgbackfill_since),
       pg_catalog.count(*) FILTER (WHERE NOT pgbackfill_written)
FROM pgbackfill_scoped AS pgbackfill_one
       CROSS JOIN LATERAL pg_catalog.unnest(ARRAY[ROW(pgbackfill_one."id", pgbackfill_one."Co""de", pgbackfill_one."doc")::"public"."users"]) AS t,
       (SELECT p.user_id, p.code FROM posts p WHERE (ROW(p.user_id, p.code) OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(p.user_id, p.code) OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND p.code IS NOT NULL) AND (t.display_name IS NULL
)) p
WHERE (p.user_id = t.id
) AND (ROW(t."doc")::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(CAST((to_jsonb(t)
) AS pg_catalog.jsonb))::pg_catalog.record);
-- $1 = "41"
-- $2 = "a,b"
-- $3 = "77"
-- $4 = ""
