-- link
UPDATE users AS t SET s = o."Secret" FROM (SELECT u.c1 AS "id", u.c2 AS "Secret" FROM ROWS FROM (pg_catalog.unnest($1::bigint[]), pg_catalog.unnest($2::pg_catalog.bytea[])) AS u (c1, c2)) AS o WHERE (ROW(t."id", t."Co""de") OPERATOR(pg_catalog.>) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND ROW(t."id", t."Co""de") OPERATOR(pg_catalog.<=) ROW($5::bigint, $6::character(5) COLLATE "pg_catalog"."C") AND t."Co""de" IS NOT NULL) AND o.id = t.id;
-- $1 = "{\"5\"}"
-- $2 = "{NULL}"
-- $3 = "41"
-- $4 = "a,b"
-- $5 = "77"
-- $6 = ""
