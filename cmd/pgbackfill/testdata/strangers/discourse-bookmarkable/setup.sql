-- Discourse, db/post_migrate/20220104053957_backfill_bookmarkable_polymorphic: one nullable id and a flag become a polymorphic pair; two jobs, one a half.
-- The schema, the data and the SQL are our own.
-- gen.r(k, salt, n): a repeatable integer in [0, n)
CREATE SCHEMA gen;
CREATE FUNCTION gen.r(k bigint, salt text, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$f$ SELECT ('x' || substr(md5(k::text || '#' || salt), 1, 15))::bit(60)::bigint % n $f$;

CREATE TABLE posts (id int PRIMARY KEY, topic_id int NOT NULL);
CREATE TABLE bookmarks (id bigint PRIMARY KEY, post_id int, for_topic boolean NOT NULL, bookmarkable_id int, bookmarkable_type text);
INSERT INTO posts SELECT g, 1+gen.r(g,'t',200) FROM generate_series(1,2000) g WHERE gen.r(g,'gone',15)<>0;
INSERT INTO bookmarks SELECT g*3, 1+gen.r(g,'p',2000), gen.r(g,'f',3)=0 FROM generate_series(1,3000) g;
ANALYZE;
