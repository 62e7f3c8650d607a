-- Mastodon, db/post_migrate/20220617202502_migrate_roles: two flags become a row of a lookup table.
-- The schema, the data and the SQL are our own.
-- gen.r(k, salt, n): a repeatable integer in [0, n)
CREATE SCHEMA gen;
CREATE FUNCTION gen.r(k bigint, salt text, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$f$ SELECT ('x' || substr(md5(k::text || '#' || salt), 1, 15))::bit(60)::bigint % n $f$;

CREATE TABLE user_roles (id bigserial PRIMARY KEY, name text UNIQUE, permissions bigint NOT NULL);
CREATE TABLE users (id bigint PRIMARY KEY, admin boolean NOT NULL DEFAULT false, moderator boolean NOT NULL DEFAULT false, role_id bigint REFERENCES user_roles);
INSERT INTO users SELECT g, gen.r(g,'a',20)=0, gen.r(g,'m',9)=0 FROM generate_series(1,2500) g;
ANALYZE;
