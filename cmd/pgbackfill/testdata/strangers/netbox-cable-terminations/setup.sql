-- NetBox, the dcim migrations of release 3.3: one row with two generic foreign keys becomes two rows.
-- The schema, the data and the SQL are our own.
-- gen.r(k, salt, n): a repeatable integer in [0, n)
CREATE SCHEMA gen;
CREATE FUNCTION gen.r(k bigint, salt text, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$f$ SELECT ('x' || substr(md5(k::text || '#' || salt), 1, 15))::bit(60)::bigint % n $f$;

CREATE TABLE cable (id bigint PRIMARY KEY, termination_a_type int, termination_a_id bigint, termination_b_type int, termination_b_id bigint);
CREATE TABLE cabletermination (id bigserial PRIMARY KEY, cable_id bigint NOT NULL REFERENCES cable, cable_end char(1) NOT NULL, type_id int NOT NULL, termination_id bigint NOT NULL, UNIQUE (type_id, termination_id));
CREATE TABLE interface (id bigint PRIMARY KEY, name text, cable_id bigint REFERENCES cable, cable_end char(1) NOT NULL DEFAULT '');
INSERT INTO cable SELECT g, 7, g*2, CASE WHEN g%9=0 THEN NULL ELSE 7 END, CASE WHEN g%9=0 THEN NULL ELSE g*2+1 END FROM generate_series(1,2000) g;
INSERT INTO interface SELECT g, 'if'||g, CASE WHEN g/2 BETWEEN 1 AND 2000 AND NOT (g%2=1 AND (g/2)%9=0) THEN g/2 END FROM generate_series(1,4100) g;
INSERT INTO cabletermination (cable_id,cable_end,type_id,termination_id) SELECT id,'A',7,termination_a_id FROM cable WHERE id<50;
ANALYZE;
