-- The application's table before the change, with something in it, and where its backups are noted down.
CREATE TABLE users (id bigserial PRIMARY KEY, full_name text NOT NULL);
INSERT INTO users (full_name) SELECT 'user ' || i FROM generate_series(1, 5000) AS i;
CREATE TABLE backups (finished_at timestamptz NOT NULL);
INSERT INTO backups VALUES (now());
ANALYZE users;
