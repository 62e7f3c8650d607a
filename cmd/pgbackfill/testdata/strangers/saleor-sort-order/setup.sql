-- Saleor, attribute values' sort_order and max_sort_order: numbers within a group, then their maximum on the parent.
-- The schema, the data and the SQL are our own.
-- gen.r(k, salt, n): a repeatable integer in [0, n)
CREATE SCHEMA gen;
CREATE FUNCTION gen.r(k bigint, salt text, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$f$ SELECT ('x' || substr(md5(k::text || '#' || salt), 1, 15))::bit(60)::bigint % n $f$;

CREATE TABLE attribute_value (id int PRIMARY KEY, attribute_id int NOT NULL, name text, sort_order int);
CREATE TABLE attribute (id int PRIMARY KEY, slug text, max_sort_order int);
INSERT INTO attribute SELECT g, 'a'||g FROM generate_series(1,300) g;
INSERT INTO attribute_value SELECT g, 1+gen.r(g,'a',280), (ARRAY['Red','red','Blau','Émeraude'])[1+gen.r(g,'n',4)] FROM generate_series(1,3000) g;
CREATE INDEX ON attribute_value (attribute_id);
ANALYZE;
