CREATE TABLE users (
    id      integer PRIMARY KEY,
    email   text NOT NULL,
    bio     text,
    website text
);
-- expand: where the profile goes
CREATE TABLE user_profiles (
    user_id integer PRIMARY KEY REFERENCES users,
    bio     text NOT NULL DEFAULT '',
    website text NOT NULL DEFAULT ''
);

INSERT INTO users SELECT n, 'user' || n || '@example.org', nullif(repeat('b', n % 4), ''), CASE WHEN n % 3 = 0 THEN 'https://example.org/' || n END
  FROM generate_series(1, 5000) AS n;
-- Some were written by the application already.
INSERT INTO user_profiles SELECT id, coalesce(bio, ''), coalesce(website, '') FROM users WHERE id % 10 = 0 AND (bio <> '' OR website <> '');
INSERT INTO user_profiles SELECT id, 'stale', '' FROM users WHERE id % 97 = 0 AND id % 10 <> 0 AND (bio <> '' OR website <> '');
