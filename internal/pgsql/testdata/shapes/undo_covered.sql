-- covered
(ROW(t."id", t."Co""de") OPERATOR(pg_catalog.>) ROW('41'::bigint, 'a,b'::character(5) COLLATE "pg_catalog"."C") AND ROW(t."id", t."Co""de") OPERATOR(pg_catalog.<=) ROW('77'::bigint, ''::character(5) COLLATE "pg_catalog"."C") AND t."Co""de" IS NOT NULL)
 OR ((t."Co""de" IS NULL))
 OR (t."id" OPERATOR(pg_catalog.=) '77'::bigint AND t."Co""de" OPERATOR(pg_catalog.=) ''::character(5) COLLATE "pg_catalog"."C");
