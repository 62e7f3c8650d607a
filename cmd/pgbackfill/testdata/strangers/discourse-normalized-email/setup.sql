-- Discourse, db/post_migrate/20211201221028_migrate_email_to_normalized_email: citext as a key, a generated column, a trigger.
-- The schema, the data and the SQL are our own.
-- gen.r(k, salt, n): a repeatable integer in [0, n)
CREATE SCHEMA gen;
CREATE FUNCTION gen.r(k bigint, salt text, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$f$ SELECT ('x' || substr(md5(k::text || '#' || salt), 1, 15))::bit(60)::bigint % n $f$;

CREATE EXTENSION citext;
CREATE TABLE user_emails (email citext PRIMARY KEY, user_id int NOT NULL, normalized_email text, domain text GENERATED ALWAYS AS (split_part(lower(email::text), '@', 2)) STORED, updated_at timestamptz DEFAULT now());
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at := '2030-01-01'; RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE OF email ON user_emails FOR EACH ROW EXECUTE FUNCTION touch();
INSERT INTO user_emails (email, user_id, normalized_email, updated_at) SELECT CASE gen.r(g,'k',4) WHEN 0 THEN 'A.b.C'||g||'+x@Gmail.com' WHEN 1 THEN 'user'||g||'@ex.ORG' WHEN 2 THEN 'u.'||g||'+y+z@ex.org' ELSE 'ÄÖ'||g||'@ex.de' END, g, NULL, '2020-01-01' FROM generate_series(1,2500) g;
ANALYZE;
