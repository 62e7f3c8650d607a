BEGIN;
UPDATE catalog_resource_versions v SET semver_major=m[1]::int, semver_minor=coalesce(m[2],'0')::int, semver_patch=coalesce(m[3],'0')::int, semver_prerelease=m[4]
FROM (SELECT id, regexp_match(tag, '^[vV]?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:\.\d+)*(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?$') m FROM releases) r WHERE r.id=v.release_id AND m IS NOT NULL AND v.semver_major IS NULL;
COMMIT;
