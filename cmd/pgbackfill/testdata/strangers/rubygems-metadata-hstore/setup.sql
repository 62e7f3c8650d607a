-- RubyGems.org, versions.metadata: hstore to JSON.
-- The schema, the data and the SQL are our own.
-- gen.r(k, salt, n): a repeatable integer in [0, n)
CREATE SCHEMA gen;
CREATE FUNCTION gen.r(k bigint, salt text, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$f$ SELECT ('x' || substr(md5(k::text || '#' || salt), 1, 15))::bit(60)::bigint % n $f$;

CREATE EXTENSION hstore; CREATE EXTENSION pg_trgm;
CREATE TABLE versions (id bigint PRIMARY KEY, number text, metadata hstore NOT NULL DEFAULT ''::hstore, metadata_json jsonb, metadata2 hstore);
INSERT INTO versions SELECT g, g||'.0', CASE g%4 WHEN 0 THEN ''::hstore WHEN 1 THEN hstore('a', NULL) WHEN 2 THEN hstore(ARRAY['Key"q','v=>x','n',g::text]) ELSE hstore('n','1.50') END FROM generate_series(1,2500) g;
CREATE INDEX ON versions USING gin (number gin_trgm_ops); CREATE INDEX ON versions USING gin (metadata);
ANALYZE;
