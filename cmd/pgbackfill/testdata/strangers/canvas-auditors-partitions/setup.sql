-- Canvas LMS, lib/data_fixup/auditors: records of another store into a partitioned table.
-- The schema, the data and the SQL are our own.
-- gen.r(k, salt, n): a repeatable integer in [0, n)
CREATE SCHEMA gen;
CREATE FUNCTION gen.r(k bigint, salt text, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$f$ SELECT ('x' || substr(md5(k::text || '#' || salt), 1, 15))::bit(60)::bigint % n $f$;

CREATE TABLE old_auth (id uuid PRIMARY KEY, attrs jsonb, created_at timestamptz);

CREATE TABLE auditor_records (id bigint GENERATED ALWAYS AS IDENTITY, uuid uuid NOT NULL, created_at timestamp NOT NULL, event_type varchar NOT NULL, user_id bigint) PARTITION BY RANGE (created_at);
CREATE TABLE ar_2020_1 PARTITION OF auditor_records FOR VALUES FROM ('2020-01-01') TO ('2020-02-01');
CREATE TABLE ar_2020_2 PARTITION OF auditor_records FOR VALUES FROM ('2020-02-01') TO ('2020-03-01');
CREATE TABLE ar_2020_3 PARTITION OF auditor_records FOR VALUES FROM ('2020-03-01') TO ('2020-04-01');
CREATE UNIQUE INDEX ON auditor_records (uuid, created_at);
INSERT INTO old_auth SELECT md5(g::text)::uuid, jsonb_build_object('event_type', CASE WHEN g%2=0 THEN 'login' ELSE 'logout' END, 'user_id', g%100), timestamptz '2020-01-05 23:59:59.999999+02' + g*interval '45 minutes' FROM generate_series(1,2500) g;
ANALYZE;
