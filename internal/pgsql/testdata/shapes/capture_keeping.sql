-- undo: triggers
SELECT pg_catalog.count(*)
FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.oid[]), pg_catalog.unnest($2::pg_catalog.text[])) AS w (relid, name)
JOIN pg_catalog.pg_trigger AS g ON g.tgrelid OPERATOR(pg_catalog.=) w.relid AND g.tgname OPERATOR(pg_catalog.=) w.name::pg_catalog.name
WHERE g.tgenabled OPERATOR(pg_catalog.=) 'A'::pg_catalog."char";
-- $1 = "{\"16384\",\"16384\",\"16384\",\"16385\"}"
-- $2 = "{\"pgbackfill_undo_7_insert\",\"pgbackfill_undo_7_update\",\"pgbackfill_undo_7_delete\",\"pgbackfill_undo_7_insert\"}"
