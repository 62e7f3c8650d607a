-- Mastodon, deduplication of tags that differ in case only: foreign keys are re-pointed, a composite key is in the way.
-- The schema, the data and the SQL are our own.
-- gen.r(k, salt, n): a repeatable integer in [0, n)
CREATE SCHEMA gen;
CREATE FUNCTION gen.r(k bigint, salt text, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$f$ SELECT ('x' || substr(md5(k::text || '#' || salt), 1, 15))::bit(60)::bigint % n $f$;

CREATE TABLE tags (id bigint PRIMARY KEY, name varchar NOT NULL DEFAULT '');
CREATE TABLE statuses_tags (status_id bigint NOT NULL, tag_id bigint NOT NULL REFERENCES tags ON DELETE CASCADE, PRIMARY KEY (tag_id, status_id));
CREATE TABLE featured_tags (id bigint PRIMARY KEY, account_id bigint, tag_id bigint NOT NULL REFERENCES tags, statuses_count int NOT NULL DEFAULT 0);
INSERT INTO tags SELECT g, CASE WHEN gen.r(g,'c',2)=0 THEN upper('tag'||(g%900)) ELSE 'tag'||(g%900) END FROM generate_series(1,2000) g;
INSERT INTO statuses_tags SELECT DISTINCT gen.r(g,'s',800), 1+gen.r(g,'t',2000) FROM generate_series(1,4000) g;
INSERT INTO featured_tags SELECT g, g%70, 1+gen.r(g,'f',2000), 0 FROM generate_series(1,500) g;
CREATE INDEX ON statuses_tags (status_id); CREATE INDEX ON featured_tags (tag_id);
ANALYZE;
