-- Airflow 2.2, task_instance gets run_id: a key of two texts and a time, orphans are moved away first.
-- The schema, the data and the SQL are our own.
-- gen.r(k, salt, n): a repeatable integer in [0, n)
CREATE SCHEMA gen;
CREATE FUNCTION gen.r(k bigint, salt text, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$f$ SELECT ('x' || substr(md5(k::text || '#' || salt), 1, 15))::bit(60)::bigint % n $f$;

CREATE TABLE dag_run (id int PRIMARY KEY, dag_id varchar(250), execution_date timestamptz, run_id varchar(250), UNIQUE (dag_id, execution_date), UNIQUE (dag_id, run_id));
CREATE TABLE task_instance (task_id varchar(250) NOT NULL, dag_id varchar(250) NOT NULL, execution_date timestamptz NOT NULL, run_id varchar(250), state varchar(20), PRIMARY KEY (task_id, dag_id, execution_date));
CREATE TABLE task_fail (id serial PRIMARY KEY, task_id varchar(250), dag_id varchar(250), execution_date timestamptz);
INSERT INTO dag_run SELECT g, 'dag_'||g%23, timestamptz '2021-10-31 00:00:00.123456+00' + g*interval '10 minutes', 'scheduled__'||g FROM generate_series(1,400) g WHERE g%17<>0;
INSERT INTO task_instance SELECT 'task.'||k, 'dag_'||g%23, timestamptz '2021-10-31 00:00:00.123456+00' + g*interval '10 minutes', NULL, 'success' FROM generate_series(1,400) g, generate_series(1,6) k;
INSERT INTO task_fail (task_id,dag_id,execution_date) SELECT task_id,dag_id,execution_date FROM task_instance WHERE gen.r(hashtext(dag_id)::bigint+extract(epoch FROM execution_date)::bigint,'f',9)=0;
CREATE TABLE dangling_ti (LIKE task_instance);
ALTER TABLE dangling_ti ADD PRIMARY KEY (task_id, dag_id, execution_date);
ANALYZE;
