DO $$
DECLARE
    helper text;
BEGIN
    FOR helper IN SELECT relation FROM pgbackfill.tasks WHERE part = 'helper' LOOP
        EXECUTE pg_catalog.format('DROP TABLE IF EXISTS pgbackfill.%I', helper);
    END LOOP;
END
$$;
DROP TABLE pgbackfill.tasks;
