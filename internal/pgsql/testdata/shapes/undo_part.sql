-- undo: part
WITH last AS (
  SELECT l.id FROM ((SELECT u.id FROM "pgbackfill"."undo_7_1" AS u WHERE u.id < $1::int8 ORDER BY u.id DESC LIMIT $2::int8)
  UNION ALL (SELECT u.id FROM "pgbackfill"."undo_7_2" AS u WHERE u.id < $1::int8 ORDER BY u.id DESC LIMIT $2::int8)) AS l ORDER BY l.id DESC LIMIT $2::int8
), part AS MATERIALIZED (
  SELECT min(last.id) AS least_id, count(*) AS rows, max(last.id) AS greatest_id FROM last
)
SELECT CASE WHEN part.least_id IS NOT NULL THEN greatest(part.least_id,
  (SELECT max(m.id) + 1 FROM (SELECT u.id, row_number() OVER (PARTITION BY u.k1, u.k2 ORDER BY u.id DESC) AS n FROM "pgbackfill"."undo_7_1" AS u WHERE u.id < $1::int8 AND u.id >= (SELECT least_id FROM part)) AS m WHERE m.n > 1),
  (SELECT max(m.id) + 1 FROM (SELECT u.id, row_number() OVER (PARTITION BY u.k1 ORDER BY u.id DESC) AS n FROM "pgbackfill"."undo_7_2" AS u WHERE u.id < $1::int8 AND u.id >= (SELECT least_id FROM part)) AS m WHERE m.n > 1)) END, part.rows, part.greatest_id
FROM part;
-- $1 = "900"
-- $2 = "100"
-- undo: any kept
SELECT EXISTS (SELECT FROM "pgbackfill"."undo_7_1" AS u WHERE u.id < $1::int8) OR EXISTS (SELECT FROM "pgbackfill"."undo_7_2" AS u WHERE u.id < $1::int8);
-- $1 = "900"
-- undo: all kept
SELECT COALESCE(greatest((SELECT max(u.id) FROM "pgbackfill"."undo_7_1" AS u), (SELECT max(u.id) FROM "pgbackfill"."undo_7_2" AS u)), 0);
-- undo: constraints
SET CONSTRAINTS ALL IMMEDIATE;
-- undo: whole
WITH inside AS MATERIALIZED (
  SELECT u.xmin::text AS xid FROM "pgbackfill"."undo_7_1" AS u WHERE u.id >= $1::int8 AND u.id < $2::int8
  UNION ALL SELECT u.xmin::text AS xid FROM "pgbackfill"."undo_7_2" AS u WHERE u.id >= $1::int8 AND u.id < $2::int8
), part AS MATERIALIZED (
  SELECT least($1::int8, (SELECT min(u.id) FROM "pgbackfill"."undo_7_1" AS u WHERE u.id >= $1::int8 - $3::int8 AND u.id < $1::int8 AND u.xmin::text IN (SELECT DISTINCT i.xid FROM inside AS i)),
    (SELECT min(u.id) FROM "pgbackfill"."undo_7_2" AS u WHERE u.id >= $1::int8 - $3::int8 AND u.id < $1::int8 AND u.xmin::text IN (SELECT DISTINCT i.xid FROM inside AS i))) AS least_id
), l AS MATERIALIZED (
  SELECT greatest(part.least_id,
  (SELECT max(m.id) + 1 FROM (SELECT u.id, row_number() OVER (PARTITION BY u.k1, u.k2 ORDER BY u.id DESC) AS n FROM "pgbackfill"."undo_7_1" AS u WHERE u.id < $2::int8 AND u.id >= (SELECT least_id FROM part)) AS m WHERE m.n > 1),
  (SELECT max(m.id) + 1 FROM (SELECT u.id, row_number() OVER (PARTITION BY u.k1 ORDER BY u.id DESC) AS n FROM "pgbackfill"."undo_7_2" AS u WHERE u.id < $2::int8 AND u.id >= (SELECT least_id FROM part)) AS m WHERE m.n > 1)) AS least_id FROM part
)
SELECT l.least_id, (SELECT count(*) FROM "pgbackfill"."undo_7_1" AS u WHERE u.id >= l.least_id AND u.id < $2::int8) + (SELECT count(*) FROM "pgbackfill"."undo_7_2" AS u WHERE u.id >= l.least_id AND u.id < $2::int8) FROM l;
-- $1 = "800"
-- $2 = "900"
-- $3 = "2000"
