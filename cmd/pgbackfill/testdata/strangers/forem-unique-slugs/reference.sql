BEGIN;
UPDATE organizations o SET slug=s.slug FROM (SELECT id, CASE WHEN n=1 THEN b ELSE b||'--'||id END slug FROM (SELECT id, b, row_number() OVER (PARTITION BY b ORDER BY slug IS NULL, id) n FROM (SELECT id, slug, coalesce(nullif(trim(BOTH '-' FROM regexp_replace(lower(name),'[^a-z0-9]+','-','g')),''),'org') b FROM organizations) x) y) s WHERE s.id=o.id AND o.slug IS NULL;
COMMIT;
