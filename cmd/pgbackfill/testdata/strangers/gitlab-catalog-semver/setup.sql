-- GitLab, background_migration/backfill_catalog_resource_version_sem_ver: a version in text becomes four columns.
-- The schema, the data and the SQL are our own.
-- gen.r(k, salt, n): a repeatable integer in [0, n)
CREATE SCHEMA gen;
CREATE FUNCTION gen.r(k bigint, salt text, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$f$ SELECT ('x' || substr(md5(k::text || '#' || salt), 1, 15))::bit(60)::bigint % n $f$;

CREATE TABLE releases (id bigint PRIMARY KEY, tag varchar);
CREATE TABLE catalog_resource_versions (id bigint PRIMARY KEY, release_id bigint NOT NULL, semver_major int, semver_minor int, semver_patch int, semver_prerelease text);
INSERT INTO releases SELECT g, CASE gen.r(g,'k',8) WHEN 0 THEN g::text WHEN 1 THEN 'v1.'||g WHEN 2 THEN 'V2.0.'||g||'-rc.1' WHEN 3 THEN '1.2-alpha' WHEN 4 THEN '1.0+123' WHEN 5 THEN '1.2.3.'||g WHEN 6 THEN 'latest' ELSE NULL END FROM generate_series(1,2500) g;
INSERT INTO catalog_resource_versions SELECT g*2, g, CASE WHEN g%13=0 THEN 9 END, CASE WHEN g%13=0 THEN 9 END FROM generate_series(1,2500) g;
ANALYZE;
