CREATE TABLE posts (id integer PRIMARY KEY);
CREATE TABLE drafts (
    author  text COLLATE "C",
    channel text COLLATE "C",
    post_id integer NOT NULL,
    message text,
    PRIMARY KEY (author, channel)
);

INSERT INTO posts SELECT n FROM generate_series(1, 3000) AS n WHERE n % 3 > 0;
INSERT INTO drafts SELECT 'author ' || n % 100, 'channel ' || n, n, repeat('m', n % 50) FROM generate_series(1, 3000) AS n;
