CREATE TABLE orders (
    id       uuid PRIMARY KEY,
    payload  jsonb NOT NULL,
    -- expand
    total    numeric(12, 2),
    currency text
);

INSERT INTO orders (id, payload)
SELECT md5(n::text)::uuid,
       CASE n % 4 WHEN 0 THEN '{}'::jsonb
                  WHEN 1 THEN jsonb_build_object('total', n::text || '.50', 'currency', 'eur')
                  WHEN 2 THEN jsonb_build_object('total', n, 'currency', 'USD')
                  ELSE jsonb_build_object('total', null, 'currency', null) END
  FROM generate_series(1, 5000) AS n;
