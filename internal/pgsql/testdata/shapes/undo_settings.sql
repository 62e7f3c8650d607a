-- settings
SELECT pg_catalog.set_config('search_path', $1, true),
       pg_catalog.set_config('TimeZone', $2, true),
       pg_catalog.set_config('DateStyle', $3, true),
       pg_catalog.set_config('IntervalStyle', $4, true),
       pg_catalog.set_config('extra_float_digits', $5, true),
       pg_catalog.set_config('bytea_output', $6, true),
       pg_catalog.set_config('lc_monetary', $7, true),
       pg_catalog.set_config('row_security', $8, true),
       pg_catalog.set_config('enable_seqscan', $9, true),
       pg_catalog.set_config('enable_hashjoin', $10, true),
       pg_catalog.set_config('enable_mergejoin', $11, true),
       pg_catalog.set_config('jit', $12, true),
       pg_catalog.set_config('pgbackfill.run', $13, true),
       pg_catalog.set_config('pgbackfill.job', $14, true),
       pg_catalog.set_config('pgbackfill.xid', $15::pg_catalog.text OPERATOR(pg_catalog.||) CASE WHEN pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'on' THEN '' ELSE pg_catalog.pg_current_xact_id()::pg_catalog.text END, true);
-- $1 = "pg_catalog, pg_temp"
-- $2 = "UTC"
-- $3 = "ISO, MDY"
-- $4 = "iso_8601"
-- $5 = "1"
-- $6 = "hex"
-- $7 = "C"
-- $8 = "off"
-- $9 = "off"
-- $10 = "off"
-- $11 = "off"
-- $12 = "off"
-- $13 = "undo"
-- $14 = "users"
-- $15 = ""
