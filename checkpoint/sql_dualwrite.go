package checkpoint

import (
	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// dualWriteTree is the table $1 with everything below it, each with the two triggers $2 and $3. What the server says of
// a trigger is compared without the name of the table: partitions have clones of their parent's.
const dualWriteTree = `WITH RECURSIVE tree(oid) AS (
  SELECT $1::oid
  UNION
  SELECT i.inhrelid FROM tree JOIN pg_inherits AS i ON i.inhparent = tree.oid
), found AS (
  SELECT c.oid = $1::oid AS root, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name, w.name AS trigger, w.no,
         COALESCE(g.oid, 0::oid) AS oid, COALESCE(g.xmin::text, '') AS xmin, COALESCE(g.tgenabled::text, '') AS enabled, g.tgfoid AS function,
         COALESCE(md5(regexp_replace(pg_get_triggerdef(g.oid), ' ON .*? FOR EACH ROW ', ' ON … FOR EACH ROW ')), '') AS definition,
         n.nspname, c.relname
    FROM tree JOIN pg_class AS c ON c.oid = tree.oid JOIN pg_namespace AS n ON n.oid = c.relnamespace
         CROSS JOIN unnest(ARRAY[$2::text, $3::text]) WITH ORDINALITY AS w(name, no)
         LEFT JOIN pg_trigger AS g ON g.tgrelid = c.oid AND g.tgname = w.name
   WHERE c.relkind IN ('r', 'p')
)`

// readDualWriteTriggers are the triggers as they are. $4 is the function.
const readDualWriteTriggers = dualWriteTree + `
SELECT f.name, f.trigger, f.enabled, f.oid <> 0, COALESCE(f.function = to_regprocedure($4::text), false), f.definition
  FROM found AS f ORDER BY NOT f.root, f.nspname, f.relname, f.no`

// definedAs is what the server says of the function and the table's own triggers.
const definedAs = `COALESCE((SELECT md5(pg_get_functiondef(p.oid)) || ' ' || pg_get_userbyid(p.proowner) FROM pg_proc AS p WHERE p.oid = to_regprocedure($4::text)), 'none')
         || COALESCE((SELECT string_agg(' ' || f.definition, '' ORDER BY f.no) FROM found AS f WHERE f.root), '')`

const readDualWriteDefinition = dualWriteTree + `
SELECT to_regprocedure($4::text) IS NOT NULL, ` + definedAs

// recordDualWrite writes down what was made, as the server has it.
const recordDualWrite = dualWriteTree + `
INSERT INTO pgbackfill.dual_writes (job, table_oid, table_name, spec_hash, statements, written, depends, elsewhere, definition, triggers, installed_by, tool_version)
SELECT $5::text, $1::oid, $6::text, $7::text, $8::text, $9::text[], $10::text[], $11::boolean, ` + definedAs + `,
       (SELECT jsonb_agg(jsonb_build_object('table', f.name, 'trigger', f.trigger, 'oid', f.oid, 'xmin', f.xmin) ORDER BY NOT f.root, f.nspname, f.relname, f.no) FROM found AS f),
       $12::text, $13::text
    ON CONFLICT (job) DO UPDATE SET table_oid = EXCLUDED.table_oid, table_name = EXCLUDED.table_name, spec_hash = EXCLUDED.spec_hash,
       statements = EXCLUDED.statements, written = EXCLUDED.written, depends = EXCLUDED.depends, elsewhere = EXCLUDED.elsewhere,
       version = dual_writes.version + 1, definition = EXCLUDED.definition, triggers = EXCLUDED.triggers,
       installed_at = clock_timestamp(), installed_by = EXCLUDED.installed_by, installed_role = EXCLUDED.installed_role, tool_version = EXCLUDED.tool_version`

const readDualWrite = `SELECT d.table_oid, d.table_name, d.spec_hash, d.statements, d.written, d.depends, d.elsewhere, d.version, d.definition,
       d.installed_at, d.installed_by, d.installed_role, d.tool_version
  FROM pgbackfill.dual_writes AS d WHERE d.job = $1`

// readDualWriteErrors are how many errors there are, and the latest.
const readDualWriteErrors = `SELECT count(*) OVER (), e.at, e.operation, COALESCE(e.key, '{}'), e.sqlstate, e.message, COALESCE(e.application, ''), e.role
  FROM pgbackfill.dual_write_errors AS e WHERE e.job = $1 ORDER BY e.id DESC LIMIT 5`

// laterTriggers are enabled BEFORE triggers of rows, on the table and below it, that fire after ours.
const laterTriggers = dualWriteTree + `
SELECT DISTINCT g.tgname::text || ' on ' || g.tgrelid::regclass::text
  FROM tree JOIN pg_trigger AS g ON g.tgrelid = tree.oid
 WHERE (g.tgtype & 3) = 3 AND (g.tgtype & 20) <> 0 AND g.tgenabled <> 'D' AND g.tgname > $2::name
   AND g.tgname <> $3::name AND g.tgfoid NOT IN (SELECT p.oid FROM pg_proc AS p WHERE p.pronamespace = 'pgbackfill'::regnamespace)
 ORDER BY 1`

// dualWriteTables are the tables that have a trigger of the function's which is no clone.
const dualWriteTables = `SELECT DISTINCT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
  FROM pg_trigger AS g JOIN pg_class AS c ON c.oid = g.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE g.tgfoid = to_regprocedure($1::text) AND g.tgparentid = 0 ORDER BY 1`

const (
	forgetDualWrite       = `DELETE FROM pgbackfill.dual_writes WHERE job = $1`
	forgetDualWriteErrors = `DELETE FROM pgbackfill.dual_write_errors WHERE job = $1`
)

// mayInstall asks for what the installer needs of the schema; the function runs with its rights.
const mayInstall = `SELECT current_user::text, has_schema_privilege('pgbackfill', 'USAGE') AND has_schema_privilege('pgbackfill', 'CREATE')
   AND has_table_privilege('pgbackfill.dual_writes', 'SELECT') AND has_table_privilege('pgbackfill.dual_writes', 'INSERT')
   AND has_table_privilege('pgbackfill.dual_writes', 'UPDATE') AND has_table_privilege('pgbackfill.dual_writes', 'DELETE')
   AND has_table_privilege('pgbackfill.dual_write_errors', 'SELECT') AND has_table_privilege('pgbackfill.dual_write_errors', 'INSERT')
   AND has_table_privilege('pgbackfill.dual_write_errors', 'DELETE')`

// lockHolders are who is in the way of a lock on the tables $1, the longest transaction first.
const lockHolders = `SELECT a.pid, CASE a.backend_type WHEN 'autovacuum worker' THEN 'autovacuum' ELSE COALESCE(a.usename::text, '') END,
       CASE a.backend_type WHEN 'autovacuum worker' THEN left(a.query, 200) ELSE COALESCE(a.application_name, '') END,
       COALESCE(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::bigint
  FROM pg_stat_activity AS a
 WHERE a.pid <> pg_backend_pid() AND EXISTS (
         SELECT FROM pg_locks AS l
          WHERE l.pid = a.pid AND l.locktype = 'relation' AND l.granted AND l.relation = ANY ($1::oid[]) AND l.mode <> 'AccessShareLock' AND l.mode <> 'RowShareLock')
 ORDER BY a.xact_start LIMIT 3`

// onlyVacuum says whether all that is in the way of a lock on the tables $1 are autovacuum workers that end when somebody waits for them, and after how many
// milliseconds of waiting the server ends them. Who may not see what others are sees none.
const onlyVacuum = `SELECT COALESCE(bool_and(a.backend_type = 'autovacuum worker' AND a.query NOT LIKE '%(to prevent wraparound)%'), false),
       (SELECT setting::bigint FROM pg_settings WHERE name = 'deadlock_timeout')
  FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
 WHERE l.locktype = 'relation' AND l.granted AND l.relation = ANY ($1::oid[]) AND l.mode NOT IN ('AccessShareLock', 'RowShareLock') AND a.pid <> pg_backend_pid()`

// DualWriteStatements lists what [InstallDualWrite] sends besides the statements of the plan's trigger, for plan to print.
func DualWriteStatements() []backfill.PlannedStatement {
	var list []backfill.PlannedStatement
	add := func(name, when, sql string) {
		list = append(list, backfill.PlannedStatement{Name: "dual-write: " + name, When: when, SQL: sql})
	}
	const before = "before a run is made"
	add("settings", "at the beginning of each transaction about the trigger", triggerSettings(pgsql.Limits{}).SQL)
	add("recorded", before, readDualWrite)
	add("definition", before, readDualWriteDefinition)
	add("triggers", before, readDualWriteTriggers)
	add("rights", "where it is to be made", mayInstall)
	add("record", "when it was made, in the same transaction", recordDualWrite)
	add("who is in the way", "where a lock is not had", lockHolders)
	add("whether that is autovacuum", "where a lock is not had", onlyVacuum)
	return list
}
