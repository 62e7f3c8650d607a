-- Forem and many others: slugs that must be unique, decided once before the first chunk.
-- The schema, the data and the SQL are our own.
-- gen.r(k, salt, n): a repeatable integer in [0, n)
CREATE SCHEMA gen;
CREATE FUNCTION gen.r(k bigint, salt text, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$f$ SELECT ('x' || substr(md5(k::text || '#' || salt), 1, 15))::bit(60)::bigint % n $f$;

CREATE TABLE organizations (id bigint PRIMARY KEY, name text NOT NULL, slug text);
CREATE UNIQUE INDEX ON organizations (slug);
INSERT INTO organizations SELECT g, (ARRAY['Acme, Inc','  acme inc ','Zürich & Söhne','日本','A--b'])[1+gen.r(g,'n',5)] || CASE WHEN gen.r(g,'x',3)=0 THEN ' '||g%40 ELSE '' END FROM generate_series(1,2500) g;
UPDATE organizations SET slug='acme-inc' WHERE id=(SELECT min(id) FROM organizations WHERE name='Acme, Inc');
ANALYZE;
