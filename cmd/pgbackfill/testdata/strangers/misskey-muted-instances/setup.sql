-- Firefish, UserprofileJsonbToArray1714270605574: JSON to an array, names in mixed case, a text key.
-- The schema, the data and the SQL are our own.
-- gen.r(k, salt, n): a repeatable integer in [0, n)
CREATE SCHEMA gen;
CREATE FUNCTION gen.r(k bigint, salt text, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$f$ SELECT ('x' || substr(md5(k::text || '#' || salt), 1, 15))::bit(60)::bigint % n $f$;

CREATE TYPE user_profile_ffvisibility_enum AS ENUM ('public','followers','private');
CREATE TABLE "user_profile" ("userId" varchar(32) PRIMARY KEY, "mutedInstances_old" jsonb NOT NULL DEFAULT '[]', "mutedInstances" varchar(512)[] NOT NULL DEFAULT '{}', "ffVisibility" user_profile_ffvisibility_enum NOT NULL DEFAULT 'public', "hideFf" boolean);
INSERT INTO "user_profile" SELECT md5(g::text), CASE gen.r(g,'m',4) WHEN 0 THEN '[]' WHEN 1 THEN jsonb_build_array('a.ex','b"q.ex', 'ü.'||g) WHEN 2 THEN '["x", null, "x"]' ELSE '{"not":"an array"}' END::jsonb, '{}', (ARRAY['public','followers','private'])[1+gen.r(g,'f',3)]::user_profile_ffvisibility_enum FROM generate_series(1,2500) g;
ANALYZE;
