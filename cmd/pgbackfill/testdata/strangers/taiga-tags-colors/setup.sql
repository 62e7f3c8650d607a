-- Taiga, a project's tags and their colours: an array of arrays from the arrays of two child tables.
-- The schema, the data and the SQL are our own.
-- gen.r(k, salt, n): a repeatable integer in [0, n)
CREATE SCHEMA gen;
CREATE FUNCTION gen.r(k bigint, salt text, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$f$ SELECT ('x' || substr(md5(k::text || '#' || salt), 1, 15))::bit(60)::bigint % n $f$;

CREATE TABLE projects (id int PRIMARY KEY, name text, tags_colors text[][] NOT NULL DEFAULT '{}');
CREATE TABLE userstories (id int PRIMARY KEY, project_id int, tags text[]);
CREATE TABLE tasks (id int PRIMARY KEY, project_id int, tags text[]);
INSERT INTO projects SELECT g, 'p'||g FROM generate_series(1,1500) g;
INSERT INTO userstories SELECT g, 1+gen.r(g,'p',1400), CASE gen.r(g,'t',4) WHEN 0 THEN NULL WHEN 1 THEN '{}' WHEN 2 THEN ARRAY['Ui',NULL,'b,"c'] ELSE ARRAY['ui','t'||gen.r(g,'x',5)] END FROM generate_series(1,3000) g;
INSERT INTO tasks SELECT g, 1+gen.r(g,'q',1400), ARRAY['t'||gen.r(g,'y',5)] FROM generate_series(1,1000) g;
CREATE INDEX ON userstories (project_id); CREATE INDEX ON tasks (project_id);
ANALYZE;
