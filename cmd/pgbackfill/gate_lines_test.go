package main

import (
	"strings"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/backfill/contract"
)

// undoneBy has the job say another way back.
func undoneBy(u *backfill.Undo) func(*contract.Options) {
	return func(o *contract.Options) { o.Job.Undo = u }
}

// backedUpBy has the job ask for its last backup.
func backedUpBy(sql string) func(*contract.Options) {
	return func(o *contract.Options) {
		o.BackupAt = time.Time{}
		terms(func(c *backfill.Contract) {
			c.Backup = &backfill.Backup{Query: backfill.Expr{SQL: sql}, MaxAge: time.Hour}
		})(o)
	}
}

// dropping has the job drop other columns.
func dropping(list ...backfill.Dropped) func(*contract.Options) {
	return terms(func(c *backfill.Contract) { c.Drops = list })
}

// column is one of a table in schema public.
func column(table, name string) backfill.Dropped {
	return backfill.Dropped{Table: backfill.TableName{Schema: "public", Name: table}, Column: name}
}

// othersTripwire is the function of another job's tripwire, as far as it matters here.
const othersTripwire = "CREATE FUNCTION pgbackfill.tripwire_other() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; COMMENT ON FUNCTION pgbackfill.tripwire_other() IS 'pgbackfill: the tripwire of job other. Remove it with: pgbackfill tripwire remove';"

// asRecorded has the tripwire's record say of its triggers what they are now, and the verification be after them.
const asRecorded = "UPDATE pgbackfill.tripwires AS w SET triggers = (SELECT jsonb_agg(e || jsonb_build_object('xmin', x.xmin::text)) FROM jsonb_array_elements(w.triggers) AS e JOIN pg_trigger AS x ON x.oid::text = e->>'oid');" +
	"UPDATE pgbackfill.verifications SET snapshot = pg_current_snapshot()"

// gateLines are one case for every further reason that a condition has. Where it says others, more conditions are turned.
var gateLines = []gateCase{
	{id: "coverage", want: contract.Fail, breaks: "UPDATE pgbackfill.runs SET state = 'cancelled'", mends: "UPDATE pgbackfill.runs SET state = 'finished'", says: "run 1 is cancelled"},
	{id: "coverage", want: contract.Fail, breaks: "INSERT INTO pgbackfill.undos (run_id, how, began_by) VALUES (1, 'set', 'ann')", mends: "DELETE FROM pgbackfill.undos", says: "run 1 is taken back since"},
	{
		id: "verified", want: contract.Fail, says: "run -1 was taken back while or after verification 1 read",
		breaks: "INSERT INTO pgbackfill.runs OVERRIDING SYSTEM VALUE SELECT (o).* FROM (SELECT jsonb_populate_record(r, jsonb_build_object('id', -1, 'state', 'undone')) AS o FROM pgbackfill.runs AS r) AS another;" +
			"INSERT INTO pgbackfill.undos (run_id, how, began_by, ended_at) VALUES (-1, 'set', 'ann', clock_timestamp())",
		mends: "DELETE FROM pgbackfill.undos; DELETE FROM pgbackfill.runs WHERE id = -1",
	},
	{
		id: "coverage", want: contract.Fail, says: "run -1 is taken back since",
		breaks: "INSERT INTO pgbackfill.runs OVERRIDING SYSTEM VALUE SELECT (o).* FROM (SELECT jsonb_populate_record(r, jsonb_build_object('id', -1)) AS o FROM pgbackfill.runs AS r) AS another;" +
			"INSERT INTO pgbackfill.undos (run_id, how, began_by) VALUES (-1, 'set', 'ann')",
		mends: "DELETE FROM pgbackfill.undos; DELETE FROM pgbackfill.runs WHERE id = -1",
	},
	{id: "coverage", want: contract.Unknown, breaks: "UPDATE pgbackfill.runs SET spec_hash = 'x' || spec_hash", mends: "UPDATE pgbackfill.runs SET spec_hash = substr(spec_hash, 2)", says: "run 1 was of another version of the job"},
	{id: "coverage", want: contract.Fail, breaks: "UPDATE pgbackfill.segments SET through = '{900}' WHERE no = 1", mends: "UPDATE pgbackfill.segments AS s SET through = (SELECT c.through FROM pgbackfill.chunks AS c WHERE c.segment = 1 ORDER BY c.seq DESC LIMIT 1) WHERE no = 1", says: "segment 1 is committed through {60} of {900}"},
	{id: "coverage", want: contract.Fail, breaks: "UPDATE pgbackfill.chunks SET fence = 'cancelled' WHERE segment = 1 AND through = '{60}'", mends: "UPDATE pgbackfill.chunks SET fence = NULL", says: "segment 1 is closed after {60}: cancelled"},
	{id: "coverage", want: contract.Fail, breaks: "UPDATE pgbackfill.segments SET after = '{-5}' WHERE no = 1; UPDATE pgbackfill.chunks SET after = '{-5}' WHERE segment = 1 AND seq = 1", mends: "UPDATE pgbackfill.segments SET after = NULL WHERE no = 1; UPDATE pgbackfill.chunks SET after = NULL WHERE segment = 1 AND seq = 1", says: "no segment ends where segment 1 begins, after {-5}"},
	{id: "coverage", want: contract.Fail, breaks: "UPDATE pgbackfill.runs SET plan = jsonb_set(plan, '{segments}', '7')", mends: "UPDATE pgbackfill.runs SET plan = jsonb_set(plan, '{segments}', (SELECT to_jsonb(count(*)) FROM pgbackfill.segments WHERE pass = 1))", says: "segments of the 7 that were planned"},
	{id: "coverage", want: contract.Fail, breaks: "INSERT INTO pgbackfill.segments (run_id, no, pass, parent, after, through) SELECT 1, 99, 1, 1, '{20}', through FROM pgbackfill.segments WHERE no = 1", mends: "DELETE FROM pgbackfill.segments WHERE no = 99", says: "segment 1 was split, and its parts do not tile it"},
	{id: "coverage", want: contract.Fail, breaks: "UPDATE pgbackfill.chunks SET seq = seq + 1 WHERE segment = 1 AND through = '{60}'", mends: "UPDATE pgbackfill.chunks SET seq = seq - 1 WHERE segment = 1 AND through = '{60}'", says: "does not take up where the one before ended"},

	{id: "scope", want: contract.Fail, with: dropping(column("users", "id")), others: true, unasked: true, says: `computed from "public"."users"."id"`},
	{id: "scope", want: contract.Unknown, with: func(o *contract.Options) { o.Job.Where = &backfill.Expr{SQL: "t.id <= 10"} }, others: true, says: "has not counted the rows outside of the scope"},

	{id: "verified", want: contract.Fail, breaks: "UPDATE pgbackfill.verifications SET job = 'other'", mends: "UPDATE pgbackfill.verifications SET job = 'users'", says: "no verification has ended", others: true},
	{id: "blinded", want: contract.Unknown, breaks: "UPDATE pgbackfill.verifications SET job = 'other'", mends: "UPDATE pgbackfill.verifications SET job = 'users'", says: "no verification has ended"},
	{id: "verified", want: contract.Fail, breaks: "UPDATE pgbackfill.verifications SET run_id = NULL", mends: "UPDATE pgbackfill.verifications SET run_id = 1", says: "is of run none, and the newest is run 1"},
	{id: "verified", want: contract.Fail, breaks: "UPDATE pgbackfill.verifications SET spec_hash = 'x' || spec_hash", mends: "UPDATE pgbackfill.verifications SET spec_hash = substr(spec_hash, 2)", says: "verification 1 is of another version of the job"},
	{id: "verified", want: contract.Fail, breaks: "UPDATE pgbackfill.verifications SET table_oid = 1", mends: "UPDATE pgbackfill.verifications SET table_oid = 'users'::regclass", says: "read another table than run 1"},
	{
		id: "verified", want: contract.Fail, others: true, breaks: "UPDATE pgbackfill.tripwires SET job = 'x'; INSERT INTO pgbackfill.runs OVERRIDING SYSTEM VALUE SELECT (r).* FROM (SELECT jsonb_populate_record(r, jsonb_build_object('id', 77, 'job', 'other')) AS r FROM pgbackfill.runs AS r) AS another;" +
			"INSERT INTO pgbackfill.chunks SELECT (c).* FROM (SELECT jsonb_populate_record(c, jsonb_build_object('run_id', 77, 'xid', pg_current_xact_id()::text)) AS c FROM pgbackfill.chunks AS c LIMIT 1) AS another",
		mends: "UPDATE pgbackfill.tripwires SET job = 'users'; DELETE FROM pgbackfill.chunks WHERE run_id = 77; DELETE FROM pgbackfill.runs WHERE id = 77", says: "run 77 of job other has changed rows of the table",
	},
	{id: "verified", want: contract.Fail, breaks: "INSERT INTO pgbackfill.verifications OVERRIDING SYSTEM VALUE SELECT (o).* FROM (SELECT jsonb_populate_record(v, jsonb_build_object('id', -1, 'verdict', 'mismatched')) AS o FROM pgbackfill.verifications AS v) AS others", mends: "DELETE FROM pgbackfill.verifications WHERE id = -1", says: "verification -1, which ended after verification 1 had begun, is mismatched"},
	{id: "verified", want: contract.Unknown, breaks: "UPDATE pgbackfill.verifications SET checks = jsonb_set(checks, '{0,unmatched}', '2')", mends: "UPDATE pgbackfill.verifications SET checks = checks #- '{0,unmatched}'", says: "2 rows in scope were met by no row of the join"},
	{id: "verified", want: contract.Unknown, breaks: "UPDATE pgbackfill.verifications SET checks = jsonb_set(checks, '{0,multiple}', '2')", mends: "UPDATE pgbackfill.verifications SET checks = checks #- '{0,multiple}'", says: "2 by several"},
	{id: "verified", want: contract.Unknown, breaks: "UPDATE pgbackfill.verifications SET checks = jsonb_set(checks, '{0,unjudged}', '2')", mends: "UPDATE pgbackfill.verifications SET checks = checks #- '{0,unjudged}'", says: "2 are not in scope any more"},
	{id: "verified", want: contract.Unknown, breaks: "UPDATE pgbackfill.verifications SET ledger_rows = NULL", mends: "UPDATE pgbackfill.verifications SET ledger_rows = (SELECT count(*) FROM pgbackfill.chunks)", says: "could not read the ledger"},
	{id: "verified", want: contract.Fail, breaks: "INSERT INTO pgbackfill.quarantine (run_id, segment, seq, key, rows, step, sqlstate, message, detail, resolved_at) VALUES (1, 1, 1, '{7}', 1, 'update', '22012', 'x', '', now())", mends: "DELETE FROM pgbackfill.quarantine", says: "1 quarantined rows were done after verification 1 began"},
	{id: "verified", want: contract.Unknown, breaks: "UPDATE pgbackfill.verifications SET asked = ''", mends: "UPDATE pgbackfill.verifications SET asked = '" + (backfill.Job{}).ChecksHash(nil) + "'", says: "was made by an earlier version of pgbackfill, which did not write down what it asked: verify again"},
	{id: "verified", want: contract.Unknown, breaks: "UPDATE pgbackfill.verifications SET snapshot = NULL", mends: "UPDATE pgbackfill.verifications SET snapshot = pg_current_snapshot()", says: "was read on a standby, and what that showed is not known"},

	{id: "soak", want: contract.Fail, breaks: "UPDATE pgbackfill.tripwires SET installed_at = installed_at + interval '3 hours'", mends: "UPDATE pgbackfill.tripwires SET installed_at = installed_at - interval '3 hours'", says: "the tripwire has watched since"},
	{id: "soak", want: contract.Unknown, breaks: "INSERT INTO pgbackfill.drift (job, table_oid, operation, key, sqlstate, message, role) VALUES ('users', 1, 'UPDATE', '{1}', '22012', 'division by zero', 'ann')", mends: "TRUNCATE pgbackfill.drift", says: "the tripwire could not tell of 1 commits"},
	{id: "soak", want: contract.Unknown, breaks: "UPDATE pgbackfill.tripwires SET residual = true", mends: "UPDATE pgbackfill.tripwires SET residual = false", says: "only sees rows that are left to be filled"},
	{id: "soak", want: contract.Unknown, breaks: "UPDATE pgbackfill.tripwires SET job = 'other'", mends: "UPDATE pgbackfill.tripwires SET job = 'users'", says: "no tripwire watches the commits"},
	{id: "soak", want: contract.Fail, others: true, breaks: "ALTER TABLE users DISABLE TRIGGER pgbackfill_tripwire_update_users", mends: "ALTER TABLE users ENABLE ALWAYS TRIGGER pgbackfill_tripwire_update_users; " + asRecorded, says: "nobody watches now: the tripwire, public.users, is switched off or gone"},
	{id: "soak", want: contract.Fail, others: true, breaks: "ALTER TABLE users DISABLE TRIGGER pgbackfill_tripwire_update_users; ALTER TABLE users ENABLE ALWAYS TRIGGER pgbackfill_tripwire_update_users", mends: asRecorded, says: "the tripwire, public.users, was switched off or made anew after"},
	{id: "soak", want: contract.Fail, others: true, breaks: "UPDATE pgbackfill.tripwires SET by_transaction = false", mends: "UPDATE pgbackfill.tripwires SET by_transaction = true", says: "was made by an earlier version of pgbackfill"},
	{id: "tripwire", want: contract.Unknown, breaks: "UPDATE pgbackfill.tripwires SET job = 'other'", mends: "UPDATE pgbackfill.tripwires SET job = 'users'", says: "no tripwire is installed"},
	{id: "tripwire", want: contract.Unknown, with: func(o *contract.Options) { o.Triggers = nil }, says: "nobody has looked"},

	{id: "old-transactions", want: contract.Fail, breaks: "BEGIN; UPDATE pgbackfill.chunks SET committed_at = committed_at + interval '1 year'; COMMIT; BEGIN; SELECT pg_current_xact_id()", mends: "COMMIT; UPDATE pgbackfill.chunks SET committed_at = committed_at - interval '1 year'", says: "is in a transaction since"},
	{id: "old-transactions", want: contract.Fail, breaks: "BEGIN; UPDATE pgbackfill.chunks SET committed_at = committed_at + interval '1 year'; COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1", mends: "COMMIT; UPDATE pgbackfill.chunks SET committed_at = committed_at - interval '1 year'", says: "is in a transaction since"},
	{id: "old-transactions", want: contract.Pass, breaks: "BEGIN; SELECT pg_current_xact_id()", mends: "COMMIT"},
	{id: "old-transactions", want: contract.Unknown, breaks: "CREATE TABLE kept AS SELECT * FROM pgbackfill.chunks; DELETE FROM pgbackfill.chunks", mends: "INSERT INTO pgbackfill.chunks SELECT * FROM kept; DROP TABLE kept", says: "there is no ledger of a last chunk"},

	{id: "dependencies", want: contract.Unknown, with: dropping(), unasked: true, says: "the job does not say what will be dropped"},
	{id: "dependencies", want: contract.Unknown, with: dropping(column("users", "nickname")), unasked: true, says: "has no such column"},
	{id: "dependencies", want: contract.Unknown, with: dropping(column("nobody", "x")), unasked: true, says: "there is no such table"},
	{id: "dropped-silently", want: contract.Fail, breaks: "CREATE INDEX i ON users (upper(full_name))", mends: "DROP INDEX i", says: "CREATE INDEX i ON"},
	{id: "dropped-silently", want: contract.Fail, breaks: "CREATE INDEX i ON users (full_name) WHERE full_name <> ''", mends: "DROP INDEX i", says: "CREATE INDEX i ON"},
	{id: "dropped-silently", want: contract.Fail, breaks: "CREATE INDEX i ON users (full_name); UPDATE pg_index SET indisunique = true WHERE indexrelid = 'i'::regclass", mends: "DROP INDEX i", says: "CREATE UNIQUE INDEX i ON"},
	{id: "dropped-silently", want: contract.Fail, breaks: "ALTER TABLE users ADD CONSTRAINT x EXCLUDE (full_name WITH =) WHERE (id < 10)", mends: "ALTER TABLE users DROP CONSTRAINT x", says: "x"},
	{id: "dropped-silently", want: contract.Pass, breaks: "ALTER TABLE users ALTER full_name SET DEFAULT 'x'", mends: "ALTER TABLE users ALTER full_name DROP DEFAULT"},
	{id: "functions", want: contract.Pass, breaks: "CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT max(full_names) FROM users); END'", mends: "DROP FUNCTION f"},
	{id: "functions", want: contract.Fail, breaks: "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.full_name := upper(NEW.full_name); RETURN NEW; END'; CREATE TRIGGER g AFTER DELETE ON users FOR EACH ROW EXECUTE FUNCTION f()", mends: "DROP FUNCTION f CASCADE", says: "the body of public.f() mentions public.users.full_name"},
	{
		id: "dependencies", want: contract.Fail, breaks: othersTripwire + "CREATE TRIGGER g AFTER UPDATE ON users FOR EACH ROW WHEN (OLD.full_name IS DISTINCT FROM NEW.full_name) EXECUTE FUNCTION pgbackfill.tripwire_other()",
		mends: "DROP FUNCTION pgbackfill.tripwire_other CASCADE", says: "the tripwire of job other on public.users depends on public.users.full_name",
	},
	{id: "functions", want: contract.Fail, breaks: strings.Replace(othersTripwire, "RETURN NULL", "PERFORM FROM public.users AS u WHERE u.full_name IS NULL; RETURN NULL", 1), mends: "DROP FUNCTION pgbackfill.tripwire_other", says: "the body of the tripwire of job other mentions public.users.full_name"},
	{id: "references", want: contract.Fail, others: true, breaks: "ALTER TABLE users ALTER full_name SET NOT NULL; CREATE UNIQUE INDEX i ON users (id, full_name); ALTER TABLE users REPLICA IDENTITY USING INDEX i", mends: "ALTER TABLE users REPLICA IDENTITY DEFAULT; DROP INDEX i; ALTER TABLE users ALTER full_name DROP NOT NULL", says: "the replica identity of public.users is index public.i"},
	{id: "references", want: contract.Fail, others: true, breaks: "CREATE TABLE parted (a int, b text) PARTITION BY RANGE (b)", with: dropping(column("parted", "b")), mends: "DROP TABLE parted", says: "is in the partition key of public.parted"},
	{id: "references", want: contract.Fail, others: true, breaks: "CREATE TABLE parted (a int, b text) PARTITION BY RANGE (upper(b))", with: dropping(column("parted", "b")), mends: "DROP TABLE parted", says: "is in the partition key of public.parted"},
	{id: "references", want: contract.Fail, others: true, breaks: "CREATE TABLE child (full_name text) INHERITS (users)", mends: "DROP TABLE child", says: "public.child.full_name keeps the column"},
	{id: "references", want: contract.Fail, others: true, breaks: "CREATE TABLE n (x text PRIMARY KEY); CREATE TABLE m (x text REFERENCES n)", with: dropping(column("n", "x")), mends: "DROP TABLE n CASCADE; DROP TABLE m", says: "on public.m: FOREIGN KEY (x) REFERENCES"},

	{id: "statements", want: contract.Unknown, by: "INSERT INTO users VALUES (1, 'x', 'X') ON CONFLICT DO NOTHING", mends: watchedLong, says: "without naming them"},
	{id: "statements", want: contract.Unknown, breaks: "UPDATE pgbackfill.statement_looks SET evicted = evicted - 1", mends: watchedLong, says: "have been watched for 0s of 1s"},
	{id: "statements", want: contract.Unknown, breaks: "REVOKE pg_monitor FROM gatekeeper", mends: "GRANT pg_monitor TO gatekeeper", unasked: true, says: "may not see the statements of others"},
	{id: "statements", want: contract.Pass, breaks: "REVOKE pg_monitor FROM gatekeeper; GRANT pg_read_all_stats TO gatekeeper", mends: "REVOKE pg_read_all_stats FROM gatekeeper; GRANT pg_monitor TO gatekeeper"},
	{id: "replication", want: contract.Fail, breaks: "CREATE PUBLICATION p FOR ALL TABLES", mends: "DROP PUBLICATION p", says: "publication p carries public.users.full_name"},

	{id: "way-back", want: contract.Fail, with: undoneBy(&backfill.Undo{None: "it is a one-way street"}), others: true, says: "the job cannot be taken back: it is a one-way street"},
	{id: "way-back", want: contract.Fail, with: undoneBy(&backfill.Undo{Capture: true}), others: true, says: "the run has kept nothing"},
	{id: "way-back", want: contract.Fail, with: undoneBy(&backfill.Undo{Capture: true}), others: true, breaks: "INSERT INTO pgbackfill.undo_tables (run_id, no, table_oid, table_name, shape) VALUES (1, 1, 'users'::regclass, 'public.users', '{}')", mends: "DELETE FROM pgbackfill.undo_tables", says: "what was kept of public.users is gone"},
	{id: "way-back", want: contract.Fail, with: backedUpBy("SELECT now() - interval '2 hours'"), says: "it may be 1h0m0s old"},
	{id: "way-back", want: contract.Pass, with: backedUpBy("SELECT now() - interval '10 minutes'")},
	{id: "way-back", want: contract.Fail, with: backedUpBy("SELECT NULL::timestamptz"), says: "the query of contract.backup finds none"},
}
