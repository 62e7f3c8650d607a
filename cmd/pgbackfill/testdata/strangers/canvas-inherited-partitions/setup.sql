-- Canvas LMS, root_account_id on tables that are partitioned by inheritance.
-- The schema, the data and the SQL are our own.
-- gen.r(k, salt, n): a repeatable integer in [0, n)
CREATE SCHEMA gen;
CREATE FUNCTION gen.r(k bigint, salt text, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$f$ SELECT ('x' || substr(md5(k::text || '#' || salt), 1, 15))::bit(60)::bigint % n $f$;

CREATE TABLE messages (id bigint PRIMARY KEY, context_id bigint, root_account_id bigint, created_at timestamp);
CREATE TABLE messages_1 (CHECK (created_at < '2024-01-08'), PRIMARY KEY (id)) INHERITS (messages);
CREATE TABLE messages_2 (CHECK (created_at >= '2024-01-08'), PRIMARY KEY (id), extra text) INHERITS (messages);
CREATE TABLE courses (id bigint PRIMARY KEY, root_account_id bigint);
INSERT INTO courses SELECT g, g%7 FROM generate_series(1,100) g;
INSERT INTO messages SELECT g, g%110, NULL, '2023-12-01' FROM generate_series(1,100) g;
INSERT INTO messages_1 SELECT g, g%110, NULL, '2024-01-01' FROM generate_series(101,1200) g;
INSERT INTO messages_2 SELECT g, g%110, NULL, '2024-01-09', 'x' FROM generate_series(1201,2500) g;
ANALYZE;
