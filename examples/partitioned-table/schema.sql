CREATE TABLE measurements (
    sensor  integer NOT NULL,
    at      timestamptz NOT NULL,
    celsius numeric(6, 2) NOT NULL,
    -- expand
    kelvin  numeric(6, 2),
    PRIMARY KEY (sensor, at)
) PARTITION BY RANGE (at);
CREATE TABLE measurements_2025 PARTITION OF measurements FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE measurements_2026 PARTITION OF measurements FOR VALUES FROM ('2026-01-01') TO ('2027-01-01') PARTITION BY HASH (sensor);
CREATE TABLE measurements_2026_0 PARTITION OF measurements_2026 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE measurements_2026_1 PARTITION OF measurements_2026 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE measurements_other PARTITION OF measurements DEFAULT;

INSERT INTO measurements (sensor, at, celsius)
SELECT n % 50, timestamptz '2025-06-01 00:00:00Z' + make_interval(hours => n * 4), (n % 800) / 10.0 - 40
  FROM generate_series(1, 6000) AS n;
