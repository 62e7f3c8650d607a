-- link
DELETE FROM d USING "pgbackfill"."helper_1_dupes" h WHERE (ROW(h."id", h."Co""de") OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(h."id", h."Co""de") OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND h."Co""de" IS NOT NULL) AND (t.seen > ($5::bigint)
) AND h.id = d.id AND d.n > ($5::bigint);
-- $1 = "41"
-- $2 = "a,b"
-- $3 = "77"
-- $4 = ""
-- $5 = "5"
