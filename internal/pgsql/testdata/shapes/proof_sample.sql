-- proof
SELECT pg_catalog.count(*), pg_catalog.count(*), 0,
       pg_catalog.count(*) FILTER (WHERE t."display_name"::pg_catalog.text COLLATE "pg_catalog"."C" IS DISTINCT FROM CAST((initcap(t.full_name) -- as shown
) AS character varying)::pg_catalog.text COLLATE "pg_catalog"."C"
        OR ROW(t."price")::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(CAST((t.cents / 100.0
) AS numeric(8,2)))::pg_catalog.record
        OR t."seen" IS DISTINCT FROM CAST((t.seen + 1
) AS bigint))
FROM "public"."users" AS t
WHERE t."id" OPERATOR(pg_catalog.>) $1::bigint AND t."id" OPERATOR(pg_catalog.<=) $2::bigint
    AND ((pg_catalog.hashtextextended(ROW(t."id")::pg_catalog.text COLLATE "pg_catalog"."C", $3::pg_catalog.int8)
       OPERATOR(pg_catalog.&) 9223372036854775807) OPERATOR(pg_catalog.%) 1000000) OPERATOR(pg_catalog.<) $4::pg_catalog.int8
       AND (t.full_name ~ '^[a-z]' -- only names
);
-- $1 = "41"
-- $2 = "77"
-- $3 = "-7"
-- $4 = "50000"
