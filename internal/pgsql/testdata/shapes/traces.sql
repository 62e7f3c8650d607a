-- traces
WITH wrong AS MATERIALIZED (
  SELECT m.n, ARRAY[m.k1, m.k2]::pg_catalog.text[] AS key, CAST(m.k1 AS bigint) AS k1, CAST(m.k2 AS character(5)) COLLATE "pg_catalog"."C" AS k2
  FROM ROWS FROM (pg_catalog.unnest($2::pg_catalog.text[]), pg_catalog.unnest($3::pg_catalog.text[])) WITH ORDINALITY AS m (k1, k2, n)
), came AS MATERIALIZED (
  SELECT c.xid, c.snapshot, s.nulls, c.after IS NULL AS first, c.after[1]::bigint AS a1, c.after[2]::character(5) COLLATE "pg_catalog"."C" AS a2, c.through[1]::bigint AS b1, c.through[2]::character(5) COLLATE "pg_catalog"."C" AS b2
  FROM pgbackfill.chunks AS c
       JOIN pgbackfill.segments AS s ON s.run_id OPERATOR(pg_catalog.=) c.run_id AND s.no OPERATOR(pg_catalog.=) c.segment
  WHERE c.run_id OPERATOR(pg_catalog.=) $1::pg_catalog.int8 AND c.fence IS NULL
    AND (s.nulls OR ROW(c.through[1]::bigint, c.through[2]::character(5) COLLATE "pg_catalog"."C") OPERATOR(pg_catalog.>) ROW($4::bigint, $5::character(5) COLLATE "pg_catalog"."C"))
    AND (c.after IS NULL OR ROW(c.after[1]::bigint, c.after[2]::character(5) COLLATE "pg_catalog"."C") OPERATOR(pg_catalog.<=) ROW($6::bigint, $7::character(5) COLLATE "pg_catalog"."C"))
), last AS MATERIALIZED (
  SELECT c.snapshot FROM pgbackfill.chunks AS c
  WHERE c.run_id OPERATOR(pg_catalog.=) $1::pg_catalog.int8 AND c.snapshot IS NOT NULL ORDER BY c.committed_at DESC LIMIT 1
), others AS MATERIALIZED (
  SELECT c.xid, pg_catalog.format('a chunk of run %s of job %s', o.id, o.job) AS name
  FROM pgbackfill.runs AS r JOIN pgbackfill.runs AS o ON o.table_oid OPERATOR(pg_catalog.=) r.table_oid AND o.id OPERATOR(pg_catalog.<>) r.id
       JOIN pgbackfill.chunks AS c ON c.run_id OPERATOR(pg_catalog.=) o.id
  WHERE r.id OPERATOR(pg_catalog.=) $1::pg_catalog.int8
)
SELECT wrong.n, pg_catalog.max(c.chunks), pg_catalog.bool_or(c.ours), pg_catalog.bool_or(c.seen), pg_catalog.bool_or(c.blind),
       pg_catalog.max(w.xid::pg_catalog.text::pg_catalog.int8),
       EXISTS (SELECT FROM pgbackfill.quarantine AS q WHERE q.run_id OPERATOR(pg_catalog.=) $1::pg_catalog.int8 AND q.key OPERATOR(pg_catalog.=) wrong.key AND q.resolved_at IS NULL),
       EXISTS (SELECT FROM pgbackfill.quarantine AS q WHERE q.run_id OPERATOR(pg_catalog.=) $1::pg_catalog.int8 AND q.key OPERATOR(pg_catalog.=) wrong.key AND q.resolved_at IS NOT NULL AND q.gone OPERATOR(pg_catalog.<) q.rows),
       COALESCE(pg_catalog.bool_and(NOT pg_catalog.pg_visible_in_snapshot(w.xid, (SELECT last.snapshot FROM last))), false),
       pg_catalog.bool_and(t."display_name" IS NULL), pg_catalog.bool_and(t."price" IS NULL), false, false,
       pg_catalog.max(COALESCE(others.name, (SELECT pg_catalog.concat(d.application, ' as ', d.role, ': ', pg_catalog."left"(d.query, 200)) FROM pgbackfill.drift AS d WHERE d.xid OPERATOR(pg_catalog.=) w.xid ORDER BY d.id LIMIT 1)))
FROM wrong
     JOIN "public"."users" AS t ON t."id" OPERATOR(pg_catalog.=) wrong.k1 AND t."Co""de" OPERATOR(pg_catalog.=) wrong.k2
     CROSS JOIN LATERAL (SELECT (CASE WHEN t.xmin::pg_catalog.text::pg_catalog.int8 OPERATOR(pg_catalog.<) 3 THEN 3
            ELSE GREATEST(t.xmin::pg_catalog.text::pg_catalog.int8 OPERATOR(pg_catalog.+)
                 (((pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text::pg_catalog.int8 OPERATOR(pg_catalog.>>) 32) OPERATOR(pg_catalog.-) CASE WHEN t.xmin::pg_catalog.text::pg_catalog.int8 OPERATOR(pg_catalog.>) (pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text::pg_catalog.int8 OPERATOR(pg_catalog.&) 4294967295) THEN 1 ELSE 0 END)
                  OPERATOR(pg_catalog.*) 4294967296), 3) END)::pg_catalog.text::pg_catalog.xid8 AS xid) AS w
     LEFT JOIN others ON others.xid OPERATOR(pg_catalog.=) w.xid
     CROSS JOIN LATERAL (
       SELECT pg_catalog.count(*) AS chunks, COALESCE(pg_catalog.bool_or(came.xid OPERATOR(pg_catalog.=) w.xid), false) AS ours,
              COALESCE(pg_catalog.bool_or(pg_catalog.pg_visible_in_snapshot(w.xid, came.snapshot)), false) AS seen,
              COALESCE(pg_catalog.bool_or(came.snapshot IS NULL), false) AS blind
       FROM came WHERE CASE WHEN (wrong.k2 IS NULL) THEN came.nulls ELSE NOT came.nulls AND (came.first OR ROW(wrong.k1, wrong.k2) OPERATOR(pg_catalog.>) ROW(came.a1, came.a2)) AND ROW(wrong.k1, wrong.k2) OPERATOR(pg_catalog.<=) ROW(came.b1, came.b2) END) AS c
GROUP BY wrong.n, wrong.key;
-- $1 = "7"
-- $2 = "{\"5\",\"5\"}"
-- $3 = "{\"5\",NULL}"
-- $4 = "41"
-- $5 = "a,b"
-- $6 = "77"
-- $7 = ""
