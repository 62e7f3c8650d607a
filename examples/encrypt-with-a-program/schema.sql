CREATE TABLE customers (
    id            integer PRIMARY KEY,
    ssn           text,
    -- expand
    ssn_encrypted bytea,
    ssn_key_id    integer
);

INSERT INTO customers (id, ssn) SELECT n, CASE WHEN n % 10 > 0 THEN lpad(n::text, 9, '0') END FROM generate_series(1, 3000) AS n;
