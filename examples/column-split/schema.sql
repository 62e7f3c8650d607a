-- expand: the two new columns
CREATE TABLE users (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    full_name  text NOT NULL,
    first_name text,
    last_name  text
);

INSERT INTO users (full_name)
SELECT CASE n % 5 WHEN 0 THEN 'Cher' WHEN 1 THEN 'Ada Lovelace' WHEN 2 THEN 'Juan Carlos de la Vega' WHEN 3 THEN '  Grace   Hopper ' ELSE 'Name ' || n END
  FROM generate_series(1, 5000) AS n;
