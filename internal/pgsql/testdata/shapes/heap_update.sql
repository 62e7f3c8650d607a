-- update
UPDATE "public"."users" AS t
SET "display_name" = (initcap(t.full_name) -- as shown
)
WHERE t."ctid" OPERATOR(pg_catalog.>) $1::pg_catalog.tid AND t."ctid" OPERATOR(pg_catalog.<=) $2::pg_catalog.tid
  AND (SELECT pg_catalog.set_config('pgbackfill.snapshot', pg_catalog.pg_current_snapshot()::pg_catalog.text, true)) IS NOT NULL
  AND CASE WHEN (t.seen > 1
)
           THEN t."display_name"::pg_catalog.text COLLATE "pg_catalog"."C" IS DISTINCT FROM CAST((initcap(t.full_name) -- as shown
) AS character varying)::pg_catalog.text COLLATE "pg_catalog"."C"
           ELSE false END;
-- $1 = "(8,0)"
-- $2 = "(16,0)"
-- missed
WITH pgbackfill_scoped AS MATERIALIZED (
  SELECT t.*,
         false AS pgbackfill_since,
         true AS pgbackfill_written
  FROM "public"."users" AS t
  WHERE t."ctid" OPERATOR(pg_catalog.>) $1::pg_catalog.tid AND t."ctid" OPERATOR(pg_catalog.<=) $2::pg_catalog.tid
    AND CASE WHEN t.xmin OPERATOR(pg_catalog.=) ANY ($4::pg_catalog.xid[]) THEN false
            ELSE pg_catalog.age(t.xmin) OPERATOR(pg_catalog.<=) (
         SELECT CASE WHEN pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text::pg_catalog.int8
                          OPERATOR(pg_catalog.-) r.horizon::pg_catalog.text::pg_catalog.int8 OPERATOR(pg_catalog.<) 2000000000
                     THEN pg_catalog.age(r.horizon::pg_catalog.xid) ELSE 2147483647 END
         FROM pgbackfill.runs AS r WHERE r.id OPERATOR(pg_catalog.=) $3::pg_catalog.int8) END
       AND (t.seen > 1
)
)
SELECT pg_catalog.count(*) FILTER (WHERE pgbackfill_written AND NOT pgbackfill_since),
       pg_catalog.count(*) FILTER (WHERE pgbackfill_written AND pgbackfill_since),
       pg_catalog.count(*) FILTER (WHERE NOT pgbackfill_written)
FROM pgbackfill_scoped AS t
WHERE (t."display_name"::pg_catalog.text COLLATE "pg_catalog"."C" IS DISTINCT FROM CAST((initcap(t.full_name) -- as shown
) AS character varying)::pg_catalog.text COLLATE "pg_catalog"."C");
-- $1 = "(8,0)"
-- $2 = "(16,0)"
-- $3 = "7"
-- $4 = "{101}"
-- missed
WITH pgbackfill_scoped AS MATERIALIZED (
  SELECT t.*,
         pg_catalog.age(t.xmin) OPERATOR(pg_catalog.<=) pg_catalog.age($1::pg_catalog.xid8::pg_catalog.xid) AS pgbackfill_since,
         CASE WHEN t.xmin OPERATOR(pg_catalog.=) ANY ($3::pg_catalog.xid[]) THEN false
            ELSE pg_catalog.age(t.xmin) OPERATOR(pg_catalog.<=) (
         SELECT CASE WHEN pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text::pg_catalog.int8
                          OPERATOR(pg_catalog.-) r.horizon::pg_catalog.text::pg_catalog.int8 OPERATOR(pg_catalog.<) 2000000000
                     THEN pg_catalog.age(r.horizon::pg_catalog.xid) ELSE 2147483647 END
         FROM pgbackfill.runs AS r WHERE r.id OPERATOR(pg_catalog.=) $2::pg_catalog.int8) END AS pgbackfill_written
  FROM "public"."users" AS t
  WHERE t."ctid" OPERATOR(pg_catalog.>) $4::pg_catalog.tid AND t."ctid" OPERATOR(pg_catalog.<=) $5::pg_catalog.tid
    AND (t.seen > 1
)
)
SELECT pg_catalog.count(*) FILTER (WHERE pgbackfill_written AND NOT pgbackfill_since),
       pg_catalog.count(*) FILTER (WHERE pgbackfill_written AND pgbackfill_since),
       pg_catalog.count(*) FILTER (WHERE NOT pgbackfill_written)
FROM pgbackfill_scoped AS t
WHERE (t."display_name"::pg_catalog.text COLLATE "pg_catalog"."C" IS DISTINCT FROM CAST((initcap(t.full_name) -- as shown
) AS character varying)::pg_catalog.text COLLATE "pg_catalog"."C");
-- $1 = "1234"
-- $2 = "7"
-- $3 = "{101}"
-- $4 = "(8,0)"
-- $5 = "(16,0)"
-- missed keys
WITH pgbackfill_scoped AS MATERIALIZED (
  SELECT t.*,
         pg_catalog.age(t.xmin) OPERATOR(pg_catalog.<=) pg_catalog.age($1::pg_catalog.xid8::pg_catalog.xid) AS pgbackfill_since,
         CASE WHEN t.xmin OPERATOR(pg_catalog.=) ANY ($3::pg_catalog.xid[]) THEN false
            ELSE pg_catalog.age(t.xmin) OPERATOR(pg_catalog.<=) (
         SELECT CASE WHEN pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text::pg_catalog.int8
                          OPERATOR(pg_catalog.-) r.horizon::pg_catalog.text::pg_catalog.int8 OPERATOR(pg_catalog.<) 2000000000
                     THEN pg_catalog.age(r.horizon::pg_catalog.xid) ELSE 2147483647 END
         FROM pgbackfill.runs AS r WHERE r.id OPERATOR(pg_catalog.=) $2::pg_catalog.int8) END AS pgbackfill_written
  FROM "public"."users" AS t
  WHERE t."ctid" OPERATOR(pg_catalog.>) $4::pg_catalog.tid AND t."ctid" OPERATOR(pg_catalog.<=) $5::pg_catalog.tid
    AND (t.seen > 1
)
)
SELECT t."id"::pg_catalog.text, t."Co""de"::pg_catalog.text
FROM pgbackfill_scoped AS t
WHERE pgbackfill_written AND pgbackfill_since AND (t."display_name"::pg_catalog.text COLLATE "pg_catalog"."C" IS DISTINCT FROM CAST((initcap(t.full_name) -- as shown
) AS character varying)::pg_catalog.text COLLATE "pg_catalog"."C");
-- $1 = "1234"
-- $2 = "7"
-- $3 = "{101}"
-- $4 = "(8,0)"
-- $5 = "(16,0)"
-- pages
SELECT pg_catalog.pg_relation_size($1::pg_catalog.oid::pg_catalog.regclass) OPERATOR(pg_catalog./) pg_catalog.current_setting('block_size')::pg_catalog.int8,
       pg_catalog.pg_relation_filenode($1::pg_catalog.oid::pg_catalog.regclass),
       pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot());
-- $1 = "16384"
-- keep
SELECT FROM "public"."users" LIMIT 0;
-- snapshot
SET TRANSACTION SNAPSHOT '00000003-1';
