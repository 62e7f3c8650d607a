-- expand: a wide copy of a key that will run out
CREATE TABLE events (
    id       integer PRIMARY KEY,
    kind     text NOT NULL,
    id_wide  bigint
);

INSERT INTO events (id, kind)
SELECT CASE WHEN n = 5000 THEN 2147483647 ELSE n * 3 - 2000 END, 'kind ' || n % 7
  FROM generate_series(1, 5000) AS n;
