-- Discourse, db/post_migrate/20210208022739_move_new_since_to_new_table: one date a user becomes a row a topic.
-- The schema, the data and the SQL are our own.
-- gen.r(k, salt, n): a repeatable integer in [0, n)
CREATE SCHEMA gen;
CREATE FUNCTION gen.r(k bigint, salt text, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$f$ SELECT ('x' || substr(md5(k::text || '#' || salt), 1, 15))::bit(60)::bigint % n $f$;

CREATE TABLE users (id int PRIMARY KEY, created_at timestamp NOT NULL, previous_visit_at timestamp);
CREATE TABLE user_options (user_id int PRIMARY KEY, new_topic_duration_minutes int);
CREATE TABLE user_stats (user_id int PRIMARY KEY, new_since timestamp);
CREATE TABLE topics (id int PRIMARY KEY, created_at timestamp NOT NULL, archetype varchar NOT NULL);
CREATE TABLE topic_users (user_id int, topic_id int, last_read_post_number int, UNIQUE (user_id, topic_id));
CREATE TABLE dismissed_topic_users (id bigserial PRIMARY KEY, user_id int, topic_id int, created_at timestamp, UNIQUE (user_id, topic_id));
INSERT INTO users SELECT g, timestamp '2020-01-01' + g * interval '3 hours', CASE WHEN gen.r(g,'v',3)>0 THEN timestamp '2021-01-10' + g * interval '1 minute' END FROM generate_series(1,1500) g;
INSERT INTO user_options SELECT id, (ARRAY[NULL,-1,-2,1440,20160])[1+gen.r(id,'d',5)] FROM users;
INSERT INTO user_stats SELECT id, CASE WHEN gen.r(id,'n',4)>0 THEN timestamp '2021-01-15' + gen.r(id,'ns',20000) * interval '1 minute' END FROM users;
INSERT INTO topics SELECT g, timestamp '2021-01-01' + g * interval '2 hours', CASE WHEN gen.r(g,'pm',5)=0 THEN 'private_message' ELSE 'regular' END FROM generate_series(1,350) g;
INSERT INTO topic_users SELECT u, 1+gen.r(u,'tu',350), CASE WHEN gen.r(u,'x',2)=0 THEN 3 END FROM generate_series(1,1500) u;
INSERT INTO dismissed_topic_users (user_id, topic_id, created_at) SELECT u, 1+gen.r(u,'di',350), '2021-01-01' FROM generate_series(1,1500,7) u;
ANALYZE;
