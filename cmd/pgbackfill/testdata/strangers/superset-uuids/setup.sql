-- Superset, uuid columns for import and export: a value that cannot be computed again.
-- The schema, the data and the SQL are our own.
-- gen.r(k, salt, n): a repeatable integer in [0, n)
CREATE SCHEMA gen;
CREATE FUNCTION gen.r(k bigint, salt text, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$f$ SELECT ('x' || substr(md5(k::text || '#' || salt), 1, 15))::bit(60)::bigint % n $f$;

CREATE TABLE slices (id int PRIMARY KEY, slice_name varchar(250), uuid uuid UNIQUE, params text);
INSERT INTO slices SELECT g, 's'||g, CASE WHEN g%10=0 THEN md5(g::text)::uuid END, '{"viz_type": "dist_bar", "n": '||g||'}' FROM generate_series(1,2500) g;
ANALYZE;
