-- settings
SELECT pg_catalog.set_config('search_path', $1, true),
       pg_catalog.set_config('TimeZone', $2, true),
       pg_catalog.set_config('DateStyle', $3, true),
       pg_catalog.set_config('IntervalStyle', $4, true),
       pg_catalog.set_config('extra_float_digits', $5, true),
       pg_catalog.set_config('bytea_output', $6, true),
       pg_catalog.set_config('lc_monetary', $7, true),
       pg_catalog.set_config('row_security', $8, true),
       pg_catalog.set_config('jit', $9, true),
       pg_catalog.set_config('work_mem', $10, true);
-- $1 = "\"$user\", public"
-- $2 = "Europe/Berlin"
-- $3 = "ISO, MDY"
-- $4 = "postgres"
-- $5 = "1"
-- $6 = "hex"
-- $7 = "C"
-- $8 = "off"
-- $9 = "off"
-- $10 = "64MB"
