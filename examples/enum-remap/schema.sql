CREATE TABLE tickets (
    id     integer PRIMARY KEY,
    status integer NOT NULL
);

INSERT INTO tickets SELECT n, n % 4 + 1 FROM generate_series(1, 4000) AS n;
