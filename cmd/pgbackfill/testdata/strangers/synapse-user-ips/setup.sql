-- Matrix Synapse, background update user_ips_remove_dupes: a table without any unique key.
-- The schema, the data and the SQL are our own.
-- gen.r(k, salt, n): a repeatable integer in [0, n)
CREATE SCHEMA gen;
CREATE FUNCTION gen.r(k bigint, salt text, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$f$ SELECT ('x' || substr(md5(k::text || '#' || salt), 1, 15))::bit(60)::bigint % n $f$;

CREATE TABLE user_ips (user_id text NOT NULL, access_token text NOT NULL, device_id text, ip text NOT NULL, user_agent text NOT NULL, last_seen bigint NOT NULL);
INSERT INTO user_ips SELECT '@u'||gen.r(g,'u',90)||':ex.org', 'tok'||gen.r(g,'t',3), CASE WHEN gen.r(g,'d',3)>0 THEN 'D'||gen.r(g,'dd',2) END, '10.0.0.'||gen.r(g,'i',4), 'agent '||gen.r(g,'a',5), 1600000000+gen.r(g,'l',100000) FROM generate_series(1,3000) g;
CREATE INDEX user_ips_user_ip ON user_ips (user_id, access_token, ip);
CREATE INDEX ON user_ips (last_seen);
ANALYZE;
