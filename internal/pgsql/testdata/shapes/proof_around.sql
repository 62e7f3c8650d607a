-- begin
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
-- type
SELECT pg_catalog.format_type($1::pg_catalog.oid, $2::pg_catalog.int4);
-- $1 = "1700"
-- $2 = "524294"
