-- Lemmy, migrations/2022-07-07-182650_comment_ltrees: a tree of parent ids becomes an ltree path, then descendants are counted by it.
-- The schema, the data and the SQL are our own.
-- gen.r(k, salt, n): a repeatable integer in [0, n)
CREATE SCHEMA gen;
CREATE FUNCTION gen.r(k bigint, salt text, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$f$ SELECT ('x' || substr(md5(k::text || '#' || salt), 1, 15))::bit(60)::bigint % n $f$;

CREATE EXTENSION ltree;
CREATE TABLE comment (id int PRIMARY KEY, parent_id int, creator_id int, path ltree NOT NULL DEFAULT '0');
CREATE TABLE comment_aggregates (comment_id int PRIMARY KEY, child_count int NOT NULL DEFAULT 0);
INSERT INTO comment SELECT g, CASE WHEN g>100 AND gen.r(g,'r',6)>0 THEN 1+gen.r(g,'p',g-1) END, g%50 FROM generate_series(1,2500) g;
INSERT INTO comment_aggregates SELECT id FROM comment;
CREATE INDEX ON comment (parent_id); CREATE INDEX ON comment USING gist (path);
ANALYZE;
