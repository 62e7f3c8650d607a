-- OpenProject, journals.validity_period: a range from this row to the next of its group, under an exclusion constraint.
-- The schema, the data and the SQL are our own.
-- gen.r(k, salt, n): a repeatable integer in [0, n)
CREATE SCHEMA gen;
CREATE FUNCTION gen.r(k bigint, salt text, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$f$ SELECT ('x' || substr(md5(k::text || '#' || salt), 1, 15))::bit(60)::bigint % n $f$;

CREATE EXTENSION btree_gist;
CREATE TABLE journals (id bigint PRIMARY KEY, journable_type text, journable_id bigint, version int NOT NULL, created_at timestamptz NOT NULL, validity_period tstzrange,
 CONSTRAINT non_overlapping EXCLUDE USING gist (journable_id WITH =, journable_type WITH =, validity_period WITH &&) DEFERRABLE);
INSERT INTO journals SELECT g, CASE WHEN g%11=0 THEN NULL ELSE (ARRAY['WorkPackage','Message','Ünï'])[1+g%3] END, g%97, g/97+1, timestamptz '2023-03-26 00:30+01' + g*interval '17 minutes' FROM generate_series(1,2500) g;
CREATE UNIQUE INDEX ON journals (journable_type, journable_id, version);
ANALYZE;
