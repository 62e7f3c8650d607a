CREATE TABLE products (id integer PRIMARY KEY, name text NOT NULL, slug text);

INSERT INTO products (id, name) SELECT n, 'Product No. ' || n FROM generate_series(1, 5000) AS n;
