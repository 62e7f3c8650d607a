-- Canvas LMS, lib/data_fixup/backfill_moderation_graders: rows of three tables from one walk, numbers within a parent, a conditional upsert.
-- The schema, the data and the SQL are our own.
-- gen.r(k, salt, n): a repeatable integer in [0, n)
CREATE SCHEMA gen;
CREATE FUNCTION gen.r(k bigint, salt text, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$f$ SELECT ('x' || substr(md5(k::text || '#' || salt), 1, 15))::bit(60)::bigint % n $f$;

CREATE TABLE assignments (id bigint PRIMARY KEY, context_id bigint NOT NULL, moderated_grading boolean, grader_count int, updated_at timestamp);
CREATE TABLE submissions (id bigint PRIMARY KEY, assignment_id bigint NOT NULL);
CREATE TABLE provisional_grades (id bigint PRIMARY KEY, submission_id bigint, scorer_id bigint);
CREATE TABLE moderation_graders (id bigserial PRIMARY KEY, anonymous_id varchar(5) NOT NULL, assignment_id bigint NOT NULL, user_id bigint NOT NULL, UNIQUE (user_id, assignment_id), UNIQUE (anonymous_id, assignment_id));
CREATE TABLE feature_flags (id bigserial PRIMARY KEY, context_id bigint, context_type varchar, feature varchar, state varchar, UNIQUE (context_id, context_type, feature));
INSERT INTO assignments SELECT g, 1+g/20, gen.r(g,'m',3)>0, (ARRAY[0,NULL,3])[1+gen.r(g,'c',3)], '2018-01-01' FROM generate_series(1,1200) g;
INSERT INTO submissions SELECT g, 1+gen.r(g,'a',1200) FROM generate_series(1,4000) g;
INSERT INTO provisional_grades SELECT g, 1+gen.r(g,'s',4000), 1+gen.r(g,'sc',9) FROM generate_series(1,5000) g;
INSERT INTO feature_flags (context_id,context_type,feature,state) SELECT g,'Course','moderated_grading','off' FROM generate_series(1,60,4) g;
ANALYZE;
