-- Discourse, db/post_migrate/20210726130556_set_user_stats_draft_count: a counter, which is nothing for some.
-- The schema, the data and the SQL are our own.
-- gen.r(k, salt, n): a repeatable integer in [0, n)
CREATE SCHEMA gen;
CREATE FUNCTION gen.r(k bigint, salt text, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$f$ SELECT ('x' || substr(md5(k::text || '#' || salt), 1, 15))::bit(60)::bigint % n $f$;

CREATE TABLE user_stats (user_id int PRIMARY KEY, draft_count int NOT NULL DEFAULT 0);
CREATE TABLE drafts (id serial PRIMARY KEY, user_id int, draft_key text);
INSERT INTO user_stats SELECT g, CASE WHEN g%5=0 THEN 7 ELSE 0 END FROM generate_series(1,2500) g;
INSERT INTO drafts (user_id, draft_key) SELECT 1+gen.r(g,'u',2000), 'k'||g FROM generate_series(1,3000) g;
CREATE INDEX ON drafts (user_id);
ANALYZE;
