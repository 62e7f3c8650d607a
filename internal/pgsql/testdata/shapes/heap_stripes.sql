-- update
UPDATE "public"."users" AS t
SET "display_name" = (initcap(t.full_name) -- as shown
)
WHERE t."ctid" OPERATOR(pg_catalog.>) $1::pg_catalog.tid AND t."ctid" OPERATOR(pg_catalog.<=) $2::pg_catalog.tid
  AND ((t."id" OPERATOR(pg_catalog.%) 3) OPERATOR(pg_catalog.+) 3) OPERATOR(pg_catalog.%) 3 OPERATOR(pg_catalog.=) $3::pg_catalog.int4
  AND (SELECT pg_catalog.set_config('pgbackfill.snapshot', pg_catalog.pg_current_snapshot()::pg_catalog.text, true)) IS NOT NULL
  AND CASE WHEN (t.seen > 1
)
           THEN t."display_name"::pg_catalog.text COLLATE "pg_catalog"."C" IS DISTINCT FROM CAST((initcap(t.full_name) -- as shown
) AS character varying)::pg_catalog.text COLLATE "pg_catalog"."C"
           ELSE false END;
-- $1 = "(8,0)"
-- $2 = "(16,0)"
-- $3 = "0"
-- update
UPDATE "public"."users" AS t
SET "display_name" = (initcap(t.full_name) -- as shown
)
WHERE t."ctid" OPERATOR(pg_catalog.>) $1::pg_catalog.tid AND t."ctid" OPERATOR(pg_catalog.<=) $2::pg_catalog.tid
  AND (pg_catalog.hashint8(t."id") OPERATOR(pg_catalog.&) 2147483647) OPERATOR(pg_catalog.%) 3 OPERATOR(pg_catalog.=) $3::pg_catalog.int4
  AND (SELECT pg_catalog.set_config('pgbackfill.snapshot', pg_catalog.pg_current_snapshot()::pg_catalog.text, true)) IS NOT NULL
  AND CASE WHEN (t.seen > 1
)
           THEN t."display_name"::pg_catalog.text COLLATE "pg_catalog"."C" IS DISTINCT FROM CAST((initcap(t.full_name) -- as shown
) AS character varying)::pg_catalog.text COLLATE "pg_catalog"."C"
           ELSE false END;
-- $1 = "(8,0)"
-- $2 = "(16,0)"
-- $3 = "1"
-- update
UPDATE "public"."users" AS t
SET "display_name" = (initcap(t.full_name) -- as shown
)
WHERE t."ctid" OPERATOR(pg_catalog.>) $1::pg_catalog.tid AND t."ctid" OPERATOR(pg_catalog.<=) $2::pg_catalog.tid
  AND (pg_catalog.hash_record_extended(ROW(t."id", t."Co""de"), 0) OPERATOR(pg_catalog.&) 2147483647) OPERATOR(pg_catalog.%) 3 OPERATOR(pg_catalog.=) $3::pg_catalog.int4
  AND (SELECT pg_catalog.set_config('pgbackfill.snapshot', pg_catalog.pg_current_snapshot()::pg_catalog.text, true)) IS NOT NULL
  AND CASE WHEN (t.seen > 1
)
           THEN t."display_name"::pg_catalog.text COLLATE "pg_catalog"."C" IS DISTINCT FROM CAST((initcap(t.full_name) -- as shown
) AS character varying)::pg_catalog.text COLLATE "pg_catalog"."C"
           ELSE false END;
-- $1 = "(8,0)"
-- $2 = "(16,0)"
-- $3 = "2"
-- update
UPDATE "public"."users" AS t
SET "display_name" = (initcap(t.full_name) -- as shown
)
WHERE t."ctid" OPERATOR(pg_catalog.>) $1::pg_catalog.tid AND t."ctid" OPERATOR(pg_catalog.<=) $2::pg_catalog.tid
  AND (SELECT pg_catalog.set_config('pgbackfill.snapshot', pg_catalog.pg_current_snapshot()::pg_catalog.text, true)) IS NOT NULL
  AND CASE WHEN CASE WHEN t.xmin OPERATOR(pg_catalog.=) ANY ($4::pg_catalog.xid[]) THEN false
            ELSE pg_catalog.age(t.xmin) OPERATOR(pg_catalog.<=) (
         SELECT CASE WHEN pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text::pg_catalog.int8
                          OPERATOR(pg_catalog.-) r.horizon::pg_catalog.text::pg_catalog.int8 OPERATOR(pg_catalog.<) 2000000000
                     THEN pg_catalog.age(r.horizon::pg_catalog.xid) ELSE 2147483647 END
         FROM pgbackfill.runs AS r WHERE r.id OPERATOR(pg_catalog.=) $3::pg_catalog.int8) END
       AND (t.seen > 1
)
           THEN t."display_name"::pg_catalog.text COLLATE "pg_catalog"."C" IS DISTINCT FROM CAST((initcap(t.full_name) -- as shown
) AS character varying)::pg_catalog.text COLLATE "pg_catalog"."C"
           ELSE false END
RETURNING t."id"::pg_catalog.text, t."Co""de"::pg_catalog.text;
-- $1 = "(8,0)"
-- $2 = "(16,0)"
-- $3 = "7"
-- $4 = "{}"
-- update
UPDATE "public"."users" AS t
SET "display_name" = (initcap(t.full_name) -- as shown
)
WHERE t."ctid" OPERATOR(pg_catalog.>) $1::pg_catalog.tid AND t."ctid" OPERATOR(pg_catalog.<=) $2::pg_catalog.tid
  AND t."id" OPERATOR(pg_catalog.=) $3::bigint AND t."Co""de" OPERATOR(pg_catalog.=) $4::character(5) COLLATE "pg_catalog"."C"
  AND (SELECT pg_catalog.set_config('pgbackfill.snapshot', pg_catalog.pg_current_snapshot()::pg_catalog.text, true)) IS NOT NULL
  AND CASE WHEN CASE WHEN t.xmin OPERATOR(pg_catalog.=) ANY ($6::pg_catalog.xid[]) THEN false
            ELSE pg_catalog.age(t.xmin) OPERATOR(pg_catalog.<=) (
         SELECT CASE WHEN pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text::pg_catalog.int8
                          OPERATOR(pg_catalog.-) r.horizon::pg_catalog.text::pg_catalog.int8 OPERATOR(pg_catalog.<) 2000000000
                     THEN pg_catalog.age(r.horizon::pg_catalog.xid) ELSE 2147483647 END
         FROM pgbackfill.runs AS r WHERE r.id OPERATOR(pg_catalog.=) $5::pg_catalog.int8) END
       AND (t.seen > 1
)
           THEN t."display_name"::pg_catalog.text COLLATE "pg_catalog"."C" IS DISTINCT FROM CAST((initcap(t.full_name) -- as shown
) AS character varying)::pg_catalog.text COLLATE "pg_catalog"."C"
           ELSE false END;
-- $1 = "(8,0)"
-- $2 = "(16,0)"
-- $3 = "5"
-- $4 = "a"
-- $5 = "7"
-- $6 = "{}"
-- missed
WITH pgbackfill_scoped AS MATERIALIZED (
  SELECT t.*,
         false AS pgbackfill_since,
         true AS pgbackfill_written
  FROM "public"."users" AS t
  WHERE t."ctid" OPERATOR(pg_catalog.>) $1::pg_catalog.tid AND t."ctid" OPERATOR(pg_catalog.<=) $2::pg_catalog.tid
    AND CASE WHEN CASE WHEN t.xmin OPERATOR(pg_catalog.=) ANY ($4::pg_catalog.xid[]) THEN false
            ELSE pg_catalog.age(t.xmin) OPERATOR(pg_catalog.<=) (
         SELECT CASE WHEN pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text::pg_catalog.int8
                          OPERATOR(pg_catalog.-) r.horizon::pg_catalog.text::pg_catalog.int8 OPERATOR(pg_catalog.<) 2000000000
                     THEN pg_catalog.age(r.horizon::pg_catalog.xid) ELSE 2147483647 END
         FROM pgbackfill.runs AS r WHERE r.id OPERATOR(pg_catalog.=) $3::pg_catalog.int8) END
    AND NOT EXISTS (
           SELECT FROM pgbackfill.quarantine AS q
           WHERE q.run_id OPERATOR(pg_catalog.=) $5::pg_catalog.int8 AND q.resolved_at IS NULL
             AND pg_catalog.hash_array_extended(q.key, 0) OPERATOR(pg_catalog.=) pg_catalog.hash_array_extended(ARRAY[t."id"::pg_catalog.text, t."Co""de"::pg_catalog.text]::pg_catalog.text[] COLLATE "pg_catalog"."C", 0)
             AND q.key OPERATOR(pg_catalog.=) ARRAY[t."id"::pg_catalog.text, t."Co""de"::pg_catalog.text]::pg_catalog.text[] COLLATE "pg_catalog"."C")
             THEN (t.seen > 1
) ELSE false END
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
-- $4 = "{}"
-- $5 = "7"
-- rows
SELECT t."id"::pg_catalog.text, t."Co""de"::pg_catalog.text
FROM "public"."users" AS t
WHERE t."ctid" OPERATOR(pg_catalog.>) $1::pg_catalog.tid AND t."ctid" OPERATOR(pg_catalog.<=) $2::pg_catalog.tid
  AND ((t."id" OPERATOR(pg_catalog.%) 3) OPERATOR(pg_catalog.+) 3) OPERATOR(pg_catalog.%) 3 OPERATOR(pg_catalog.=) $3::pg_catalog.int4
ORDER BY t.ctid;
-- $1 = "(8,0)"
-- $2 = "(16,0)"
-- $3 = "0"
-- evenness
SELECT COALESCE(pg_catalog.sum(s.rows), 0), COALESCE(pg_catalog.sum(s.scoped), 0),
       COALESCE(pg_catalog.sum(LEAST(s.of_0_1, s.of_0_0) OPERATOR(pg_catalog.+) LEAST(s.of_0_2, GREATEST(s.of_0_1, s.of_0_0))), 0),
       COALESCE(pg_catalog.sum(LEAST(s.of_1_1, s.of_1_0) OPERATOR(pg_catalog.+) LEAST(s.of_1_2, GREATEST(s.of_1_1, s.of_1_0))), 0),
       COALESCE(pg_catalog.sum(LEAST(s.of_2_1, s.of_2_0) OPERATOR(pg_catalog.+) LEAST(s.of_2_2, GREATEST(s.of_2_1, s.of_2_0))), 0)
FROM (
  SELECT pg_catalog.count(*) AS rows, pg_catalog.count(*) FILTER (WHERE r.scoped) AS scoped,
         pg_catalog.count(*) FILTER (WHERE r.scoped AND r.stripe_0 OPERATOR(pg_catalog.=) 0) AS of_0_0,
         pg_catalog.count(*) FILTER (WHERE r.scoped AND r.stripe_0 OPERATOR(pg_catalog.=) 1) AS of_0_1,
         pg_catalog.count(*) FILTER (WHERE r.scoped AND r.stripe_0 OPERATOR(pg_catalog.=) 2) AS of_0_2,
         pg_catalog.count(*) FILTER (WHERE r.scoped AND r.stripe_1 OPERATOR(pg_catalog.=) 0) AS of_1_0,
         pg_catalog.count(*) FILTER (WHERE r.scoped AND r.stripe_1 OPERATOR(pg_catalog.=) 1) AS of_1_1,
         pg_catalog.count(*) FILTER (WHERE r.scoped AND r.stripe_1 OPERATOR(pg_catalog.=) 2) AS of_1_2,
         pg_catalog.count(*) FILTER (WHERE r.scoped AND r.stripe_2 OPERATOR(pg_catalog.=) 0) AS of_2_0,
         pg_catalog.count(*) FILTER (WHERE r.scoped AND r.stripe_2 OPERATOR(pg_catalog.=) 1) AS of_2_1,
         pg_catalog.count(*) FILTER (WHERE r.scoped AND r.stripe_2 OPERATOR(pg_catalog.=) 2) AS of_2_2
  FROM (
    SELECT t.tableoid AS leaf, pg_catalog.trunc((t.ctid::pg_catalog.text::pg_catalog.point)[0]) AS page, (t.seen > 1
) AS scoped,
           ((t."id" OPERATOR(pg_catalog.%) 3) OPERATOR(pg_catalog.+) 3) OPERATOR(pg_catalog.%) 3 AS stripe_0,
           (pg_catalog.hashint8(t."id") OPERATOR(pg_catalog.&) 2147483647) OPERATOR(pg_catalog.%) 3 AS stripe_1,
           (pg_catalog.hash_record_extended(ROW(t."id", t."Co""de"), 0) OPERATOR(pg_catalog.&) 2147483647) OPERATOR(pg_catalog.%) 3 AS stripe_2
    FROM "public"."users" AS t TABLESAMPLE SYSTEM (2.5) REPEATABLE (0)) AS r
  GROUP BY r.leaf, r.page) AS s;
-- heap-only
SELECT pg_catalog.pg_stat_get_xact_tuples_updated($1::pg_catalog.oid), pg_catalog.pg_stat_get_xact_tuples_hot_updated($1::pg_catalog.oid),
       pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot());
-- $1 = "16384"
-- holding
SELECT h.who
FROM (
  SELECT GREATEST(CASE WHEN a.datname OPERATOR(pg_catalog.=) pg_catalog.current_database() OR a.datname IS NULL THEN pg_catalog.age(a.backend_xmin) END,
                  pg_catalog.age(a.backend_xid)) AS age,
         CASE WHEN a.backend_type OPERATOR(pg_catalog.=) 'walsender' THEN pg_catalog.format('standby %s, which asks for it (hot_standby_feedback)', a.application_name)
              ELSE pg_catalog.format('pid %s of %s, %s, since %s', a.pid, a.usename, a.state, pg_catalog.date_trunc('second', a.xact_start)) END AS who
  FROM pg_catalog.pg_stat_activity AS a
  WHERE a.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_vacuum AS v WHERE v.pid OPERATOR(pg_catalog.=) a.pid)
  UNION ALL
  SELECT pg_catalog.age(r.xmin), pg_catalog.format('replication slot %s', r.slot_name) FROM pg_catalog.pg_replication_slots AS r
  UNION ALL
  SELECT pg_catalog.age(p.transaction), pg_catalog.format('prepared transaction %s of %s, since %s', p.gid, p.owner, pg_catalog.date_trunc('second', p.prepared))
  FROM pg_catalog.pg_prepared_xacts AS p) AS h
WHERE h.age OPERATOR(pg_catalog.>=) pg_catalog.age($1::pg_catalog.xid8::pg_catalog.xid)
ORDER BY h.age DESC;
-- $1 = "1234"
