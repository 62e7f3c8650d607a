-- Zulip, RealmAuditLog.extra_data becomes JSON: some texts are none.
-- The schema, the data and the SQL are our own.
-- gen.r(k, salt, n): a repeatable integer in [0, n)
CREATE SCHEMA gen;
CREATE FUNCTION gen.r(k bigint, salt text, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$f$ SELECT ('x' || substr(md5(k::text || '#' || salt), 1, 15))::bit(60)::bigint % n $f$;

CREATE TABLE zerver_realmauditlog (id int PRIMARY KEY, extra_data text, extra_data_json jsonb NOT NULL DEFAULT '{}');
INSERT INTO zerver_realmauditlog SELECT g, CASE gen.r(g,'k',5) WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN '{"1": '||g||'.50, "a": "\u00fc"}' WHEN 3 THEN 'null' ELSE CASE WHEN g%500=4 THEN '{''old'': 1}' ELSE '{"old": [1,2,'||g||']}' END END FROM generate_series(1,2500) g;
ANALYZE;
