-- update
UPDATE "public"."users" AS t
SET "display_name" = (initcap(t.full_name) -- as shown
),
    "price" = (t.cents / 100.0
),
    "seen" = (t.seen + 1
)
WHERE t."id" OPERATOR(pg_catalog.>) $1::bigint AND t."id" OPERATOR(pg_catalog.<=) $2::bigint
  AND (SELECT pg_catalog.set_config('pgbackfill.snapshot', pg_catalog.pg_current_snapshot()::pg_catalog.text, true)) IS NOT NULL
  AND CASE WHEN CASE WHEN t.xmin OPERATOR(pg_catalog.=) ANY ($4::pg_catalog.xid[]) THEN false
            ELSE pg_catalog.age(t.xmin) OPERATOR(pg_catalog.<=) (
         SELECT CASE WHEN pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text::pg_catalog.int8
                          OPERATOR(pg_catalog.-) r.horizon::pg_catalog.text::pg_catalog.int8 OPERATOR(pg_catalog.<) 2000000000
                     THEN pg_catalog.age(r.horizon::pg_catalog.xid) ELSE 2147483647 END
         FROM pgbackfill.runs AS r WHERE r.id OPERATOR(pg_catalog.=) $3::pg_catalog.int8) END
       AND (t.full_name ~ '^[a-z]' -- only names
)
           THEN t."display_name"::pg_catalog.text COLLATE "pg_catalog"."C" IS DISTINCT FROM CAST((initcap(t.full_name) -- as shown
) AS character varying)::pg_catalog.text COLLATE "pg_catalog"."C"
        OR ROW(t."price")::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(CAST((t.cents / 100.0
) AS numeric(8,2)))::pg_catalog.record
        OR t."seen" IS DISTINCT FROM CAST((t.seen + 1
) AS bigint)
           ELSE false END;
-- $1 = "41"
-- $2 = "77"
-- $3 = "7"
-- $4 = "{101,102}"
