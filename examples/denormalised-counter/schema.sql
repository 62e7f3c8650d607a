CREATE TABLE posts (
    id             integer PRIMARY KEY,
    title          text NOT NULL,
    comments_count integer NOT NULL DEFAULT 0
);
CREATE TABLE comments (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    post_id integer NOT NULL REFERENCES posts,
    spam    boolean NOT NULL
);
CREATE INDEX ON comments (post_id);

INSERT INTO posts SELECT n, 'post ' || n FROM generate_series(1, 2000) AS n;
INSERT INTO comments (post_id, spam) SELECT n % 700 + 1, n % 11 = 0 FROM generate_series(1, 20000) AS n;
