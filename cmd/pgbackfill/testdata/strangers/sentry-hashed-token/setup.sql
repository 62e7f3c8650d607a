-- Sentry, hashed API tokens: a program computes the value.
-- The schema, the data and the SQL are our own.
-- gen.r(k, salt, n): a repeatable integer in [0, n)
CREATE SCHEMA gen;
CREATE FUNCTION gen.r(k bigint, salt text, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$f$ SELECT ('x' || substr(md5(k::text || '#' || salt), 1, 15))::bit(60)::bigint % n $f$;

CREATE TABLE sentry_apitoken (id bigint PRIMARY KEY, token varchar(71), hashed_token varchar(128), token_last_characters char(4));
INSERT INTO sentry_apitoken SELECT g, CASE WHEN g%19=0 THEN NULL ELSE 'sntryu_'||md5(g::text) END FROM generate_series(1,1500) g;
ANALYZE;
