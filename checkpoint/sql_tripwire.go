package checkpoint

import (
	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// readTripwireTriggers are the triggers as they are, beside what was recorded of them: whether they are the same ones still,
// untouched. One of a table that came later was not recorded. $4 is the function, $5 the job.
const readTripwireTriggers = dualWriteTree + `
SELECT f.name, f.trigger, f.enabled, f.oid <> 0, COALESCE(f.function = to_regprocedure($4::text), false), f.definition, r.xmin IS NOT NULL,
       COALESCE(r.oid = f.oid::text AND r.xmin = f.xmin, true)
  FROM found AS f LEFT JOIN (
         SELECT e->>'table' AS name, e->>'trigger' AS trigger, e->>'oid' AS oid, e->>'xmin' AS xmin
           FROM pgbackfill.tripwires AS w CROSS JOIN jsonb_array_elements(w.triggers) AS e WHERE w.job = $5::text AND w.table_oid = $1::oid
       ) AS r ON r.name = f.name AND r.trigger = f.trigger
 ORDER BY NOT f.root, f.nspname, f.relname, f.no`

const readTripwireDefinition = dualWriteTree + `
SELECT to_regprocedure($4::text) IS NOT NULL, ` + definedAs + `,
       COALESCE((SELECT w.function_oid = p.oid AND w.function_xmin = p.xmin::text FROM pgbackfill.tripwires AS w, pg_proc AS p WHERE w.job = $5::text AND p.oid = to_regprocedure($4::text)), true),
       COALESCE((SELECT pg_sequence_last_value(c.oid) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($6::text)), 0),
       COALESCE((SELECT pg_sequence_last_value(c.oid) FROM pg_class AS c WHERE c.oid = to_regclass($7::text)), 0), to_regclass($7::text) IS NOT NULL,
       COALESCE((SELECT has_schema_privilege(p.proowner, 'pgbackfill', 'USAGE') AND has_table_privilege(p.proowner, 'pgbackfill.drift', 'INSERT') AND has_table_privilege(p.proowner, 'pgbackfill.drift', 'SELECT')
                   FROM pg_proc AS p WHERE p.oid = to_regprocedure($4::text)), true)`

// recordTripwire writes down what was made, as the server has it.
const recordTripwire = dualWriteTree + `
INSERT INTO pgbackfill.tripwires (job, table_oid, table_name, spec_hash, statements, watched, elsewhere, residual, definition, triggers, function_oid, function_xmin, unwritten, by_transaction, installed_by, tool_version)
SELECT $5::text, $1::oid, $6::text, $7::text, $8::text, $9::text[], $10::boolean, $11::boolean, ` + definedAs + `,
       (SELECT jsonb_agg(jsonb_build_object('table', f.name, 'trigger', f.trigger, 'oid', f.oid::text, 'xmin', f.xmin) ORDER BY NOT f.root, f.nspname, f.relname, f.no) FROM found AS f),
       (SELECT p.oid FROM pg_proc AS p WHERE p.oid = to_regprocedure($4::text)), (SELECT p.xmin::text FROM pg_proc AS p WHERE p.oid = to_regprocedure($4::text)),
       to_regclass($14::text), true, $12::text, $13::text
    ON CONFLICT (job) DO UPDATE SET table_oid = EXCLUDED.table_oid, table_name = EXCLUDED.table_name, spec_hash = EXCLUDED.spec_hash,
       statements = EXCLUDED.statements, watched = EXCLUDED.watched, elsewhere = EXCLUDED.elsewhere, residual = EXCLUDED.residual,
       version = tripwires.version + 1, definition = EXCLUDED.definition, triggers = EXCLUDED.triggers, function_oid = EXCLUDED.function_oid,
       function_xmin = EXCLUDED.function_xmin, unwritten = EXCLUDED.unwritten, by_transaction = EXCLUDED.by_transaction, xid = EXCLUDED.xid, installed_at = clock_timestamp(), installed_by = EXCLUDED.installed_by,
       installed_role = EXCLUDED.installed_role, tool_version = EXCLUDED.tool_version`

const readTripwire = `SELECT w.table_oid, w.table_name, w.spec_hash, w.statements, w.watched, w.elsewhere, w.residual, w.version, w.definition,
       w.installed_at, w.installed_by, w.installed_role, w.tool_version, w.unwritten IS NULL OR NOT w.by_transaction
  FROM pgbackfill.tripwires AS w WHERE w.job = $1`

// readDrift are how many commits were recorded, and the latest.
const readDrift = `SELECT count(*) OVER (), d.at, d.operation, COALESCE(d.key, '{}'), COALESCE(d.sqlstate, ''), COALESCE(d.message, ''), COALESCE(d.application, ''), d.role,
       COALESCE(host(d.client), ''), COALESCE(d.query, ''), d.xid::text
  FROM pgbackfill.drift AS d WHERE d.job = $1 ORDER BY d.id DESC LIMIT 5`

// purgeDrift deletes a part of what was recorded of job $1 before its tripwire was made; the newest are kept to be looked at.
const purgeDrift = `WITH older AS (
  SELECT d.id FROM pgbackfill.drift AS d JOIN pgbackfill.tripwires AS w ON w.job = d.job AND d.xid < w.xid AND d.at < w.installed_at
   WHERE d.job = $1::text AND d.at < (SELECT k.at FROM pgbackfill.drift AS k WHERE k.job = $1::text ORDER BY k.at DESC OFFSET 99 LIMIT 1)
   ORDER BY d.at LIMIT 10000
), gone AS (DELETE FROM pgbackfill.drift AS d USING older WHERE d.id = older.id RETURNING 1)
SELECT count(*) FROM gone`

const forgetTripwire = `DELETE FROM pgbackfill.tripwires WHERE job = $1`

// mayInstallTripwire asks for what the installer needs of the schema; the function runs with its rights.
const mayInstallTripwire = `SELECT current_user::text, has_schema_privilege('pgbackfill', 'USAGE') AND has_schema_privilege('pgbackfill', 'CREATE')
   AND has_table_privilege('pgbackfill.tripwires', 'SELECT') AND has_table_privilege('pgbackfill.tripwires', 'INSERT')
   AND has_table_privilege('pgbackfill.tripwires', 'UPDATE') AND has_table_privilege('pgbackfill.tripwires', 'DELETE')
   AND has_table_privilege('pgbackfill.drift', 'SELECT') AND has_table_privilege('pgbackfill.drift', 'INSERT')`

// TripwireStatements lists what [InstallTripwire] sends besides the statements of the plan's tripwire, for plan to print.
func TripwireStatements() []backfill.PlannedStatement {
	var list []backfill.PlannedStatement
	add := func(name, when, sql string) {
		list = append(list, backfill.PlannedStatement{Name: "tripwire: " + name, When: when, SQL: sql})
	}
	const before = "before a run is made"
	add("settings", "at the beginning of each transaction about the tripwire", triggerSettings(pgsql.Limits{}).SQL)
	add("recorded", before, readTripwire)
	add("definition", before, readTripwireDefinition)
	add("triggers", before, readTripwireTriggers)
	add("tables that have it", "where it is to be made", dualWriteTables)
	add("rights", "where it is to be made", mayInstallTripwire)
	add("record", "when it was made, in the same transaction", recordTripwire)
	add("purge", "once it was made, until there is nothing left to delete", purgeDrift)
	add("who is in the way", "where a lock is not had", lockHolders)
	add("whether that is autovacuum", "where a lock is not had", onlyVacuum)
	return list
}
