package pgsql

import (
	"fmt"
	"strconv"
	"strings"
)

// The gate's conditions are questions whose answer is rows of two texts: what it means ("fail", "unknown" or "pass") and the
// evidence. What is asked for is written out as literals in [Statement.Shown], so that a person can ask again.

// GateAbout is what the conditions are asked about.
type GateAbout struct {
	Job, SpecHash string
	// Asked is the hash of the checks that the job asks for.
	Asked string
	// Names are the words of the job's text, among which those of the functions are that it calls: see [backfill.Job.Names].
	Names []string
	// Run is the newest run of the job and Table its table.
	Run   int64
	Table uint32
	// Relations and Columns are what will be dropped, one beside the other.
	Relations []uint32
	Columns   []string
	// MaxAge, Soak and MinWrites are the job's terms; the first two in seconds.
	MaxAge, Soak float64
	MinWrites    int
	// Scoped is set where the job is about some of the table's rows only.
	Scoped bool
}

func seconds(s float64) []byte { return Text(strconv.FormatFloat(s, 'f', -1, 64)) }

// Shown is the statement with its parameters written out, for people. They stand in it as $1::type.
func (s Statement) Shown() string {
	text := s.SQL
	for i := len(s.Args); i > 0; i-- {
		value := "NULL"
		if s.Args[i-1] != nil {
			value = strings.TrimSpace(Literal(string(s.Args[i-1])))
		}
		text = strings.ReplaceAll(text, "$"+strconv.Itoa(i)+"::", value+"::")
	}
	return text
}

// BeginGate opens the transaction of a condition, GatePins are the settings that it is asked under.
var BeginGate = Statement{Name: "begin", SQL: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"}

// GatePins are the settings that every condition is asked under.
func GatePins(l Limits) Statement {
	return SetLocal(append([]Setting{
		{"search_path", "pg_catalog, pg_temp"}, {"TimeZone", "UTC"}, {"DateStyle", "ISO, MDY"}, {"IntervalStyle", "postgres"}, {"row_security", "off"}, {"jit", "off"},
	}, l.Settings()...)...)
}

// GateRun finds the newest run of a job: its id, state, table and the hash of its spec, and how it searched for names.
func GateRun(job string) Statement {
	return Statement{Name: "run", SQL: `SELECT r.id, r.state, r.table_oid, r.table_name, r.spec_hash, COALESCE(r.plan->>'search_path', '')
  FROM pgbackfill.runs AS r WHERE r.job = $1::text ORDER BY r.id DESC LIMIT 1`, Args: [][]byte{Text(job)}}
}

// GateColumn finds a column by its table's name; an empty schema is that of the table with the oid, or what the search_path
// finds. Its answer is one row: the table's oid, 0 where there is none, its name, and whether it has the column.
func GateColumn(schema, table, column string, walked uint32) Statement {
	return Statement{Name: "column", SQL: `WITH found AS (
  SELECT c.oid, n.nspname, c.relname
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
   WHERE c.relname = $2::name AND c.relkind IN ('r', 'p') AND CASE WHEN $1::text <> '' THEN n.nspname = $1::text
         ELSE c.oid = $4::oid OR pg_table_is_visible(c.oid) OR NOT EXISTS (SELECT FROM pg_class AS o WHERE o.relname = $2::name AND o.relkind IN ('r', 'p') AND o.oid <> c.oid) END
   ORDER BY c.oid = $4::oid DESC LIMIT 1
)
SELECT COALESCE(f.oid, 0), COALESCE(quote_ident(f.nspname) || '.' || quote_ident(f.relname), ''),
       EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = f.oid AND a.attname = $3::name AND a.attnum > 0 AND NOT a.attisdropped)
  FROM (SELECT) AS one LEFT JOIN found AS f ON true`, Args: [][]byte{Text(schema), Text(table), Text(column), Int(int64(walked))}}
}

// wide is an xid of 32 bits as one of 64, by that of now.
func wide(xid string) string {
	return fmt.Sprintf(`(SELECT GREATEST((x.now >> 32 << 32) + %[1]s::text::bigint - CASE WHEN (x.now >> 32 << 32) + %[1]s::text::bigint > x.now THEN 4294967296 ELSE 0 END, 3)::text::xid8
                FROM (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS now) AS x)`, xid)
}

// GateCoverage follows the run's segments and the ledger from end to start.
func GateCoverage(a GateAbout) Statement {
	return Statement{
		Name: "coverage", SQL: `WITH r AS (SELECT * FROM pgbackfill.runs WHERE id = $1::bigint),
s AS (SELECT * FROM pgbackfill.segments WHERE run_id = $1::bigint),
c AS (SELECT k.*, lag(k.seq) OVER w AS before, lag(k.through) OVER w AS until, lag(k.fence) OVER w AS closed, lead(k.seq) OVER w AS next
        FROM pgbackfill.chunks AS k WHERE k.run_id = $1::bigint WINDOW w AS (PARTITION BY k.segment ORDER BY k.seq)),
last AS (SELECT * FROM c WHERE next IS NULL)
SELECT 'fail', format('run %s is %s', r.id, r.state) FROM r WHERE r.state <> 'finished'
UNION ALL
SELECT 'fail', format('run %s is taken back since %s', u.run_id, u.began_at) FROM pgbackfill.undos AS u JOIN pgbackfill.runs AS o ON o.id = u.run_id
 WHERE u.run_id = $1::bigint OR u.ended_at IS NULL AND o.job IN (SELECT r.job FROM r)
UNION ALL
SELECT 'unknown', format('run %s was of another version of the job', r.id) FROM r WHERE r.spec_hash <> $2::text
UNION ALL
SELECT 'fail', format('chunk %s of segment %s does not take up where the one before ended', c.seq, c.segment)
  FROM c JOIN s ON s.no = c.segment
 WHERE c.seq <> COALESCE(c.before, 0) + 1 OR c.closed IS NOT NULL OR c.after IS DISTINCT FROM CASE WHEN c.before IS NULL THEN s.after ELSE c.until END AND NOT s.nulls
UNION ALL
SELECT 'fail', format('segment %s is %s', s.no, COALESCE('closed after ' || l.through::text || ': ' || l.fence, 'committed through ' || COALESCE(l.through::text, 'nothing') || ' of ' || COALESCE(s.through::text, 'the rows without a key')))
  FROM s LEFT JOIN last AS l ON l.segment = s.no
 WHERE NOT EXISTS (SELECT FROM s AS o WHERE o.parent = s.no) AND (l.seq IS NULL OR l.fence IS NOT NULL OR NOT s.nulls AND l.through IS DISTINCT FROM s.through)
UNION ALL
SELECT 'fail', format('segment %s was split, and its parts do not tile it', s.no)
  FROM s LEFT JOIN last AS l ON l.segment = s.no
 WHERE EXISTS (SELECT FROM s AS o WHERE o.parent = s.no)
   AND (l.fence IS DISTINCT FROM 'split' OR NOT EXISTS (SELECT FROM s AS a JOIN s AS b ON b.parent = s.no AND b.after IS NOT DISTINCT FROM a.through AND b.through = s.through
                                                         WHERE a.parent = s.no AND a.after IS NOT DISTINCT FROM l.through)
        OR (SELECT count(*) FROM s AS o WHERE o.parent = s.no) <> 2)
UNION ALL
SELECT 'fail', format('no segment ends where segment %s begins, after %s', s.no, COALESCE(s.after::text, 'nothing'))
  FROM s WHERE s.parent = 0 AND NOT s.nulls AND s.after IS NOT NULL AND NOT EXISTS (
         SELECT FROM s AS o WHERE o.parent = 0 AND o.leaf = s.leaf AND (o.pass = s.pass OR s.pass <= 2 AND o.pass <= 2) AND o.through = s.after)
UNION ALL
SELECT 'fail', format('the walk has %s segments of the %s that were planned', (SELECT count(*) FROM s WHERE s.parent = 0 AND s.pass = 1), r.plan->>'segments')
  FROM r WHERE (SELECT count(*) FROM s WHERE s.parent = 0 AND s.pass = 1) <> (r.plan->>'segments')::bigint
UNION ALL
SELECT 'fail', format('%s are quarantined: %s and others', count(*), min(q.key::text)) FROM pgbackfill.quarantine AS q WHERE q.run_id = $1::bigint AND q.resolved_at IS NULL HAVING count(*) > 0
UNION ALL
SELECT 'pass', format('run %s: %s chunks in %s segments; rows above the last key are part of the verification', r.id, (SELECT count(*) FROM c WHERE c.fence IS NULL), (SELECT count(*) FROM s)) FROM r`,
		Args: [][]byte{Int(a.Run), Text(a.SpecHash)},
	}
}

// GateVerified judges the newest verification that has ended.
func GateVerified(a GateAbout) Statement {
	return Statement{
		Name: "verified", SQL: `WITH v AS (SELECT * FROM pgbackfill.verifications WHERE job = $1::text AND state = 'ended' ORDER BY id DESC LIMIT 1),
w AS (SELECT * FROM pgbackfill.tripwires WHERE job = $1::text)
SELECT 'fail', 'no verification has ended' WHERE NOT EXISTS (SELECT FROM v)
UNION ALL SELECT 'fail', format('verification %s: %s, %s wrong rows', v.id, v.verdict, v.mismatches) FROM v WHERE v.verdict <> 'proven'
UNION ALL SELECT 'unknown', format('verification %s shows only that nothing is left: %s', v.id, array_to_string(v.residual, '; ')) FROM v WHERE v.residual <> '{}'
UNION ALL SELECT 'fail', format('verification %s read a sample, %s of the table', v.id, v.sample_fraction) FROM v WHERE v.sample_fraction IS NOT NULL
UNION ALL SELECT 'fail', format('verification %s could not check %s ranges', v.id, v.ranges_skipped) FROM v WHERE v.ranges_skipped > 0
UNION ALL SELECT 'fail', format('verification %s is of run %s, and the newest is run %s', v.id, COALESCE(v.run_id::text, 'none'), $2::bigint) FROM v WHERE v.run_id IS DISTINCT FROM $2::bigint
UNION ALL SELECT 'fail', format('verification %s is of another version of the job', v.id) FROM v WHERE v.spec_hash <> $3::text
UNION ALL SELECT 'unknown', format('verification %s was made by an earlier version of pgbackfill, which did not write down what it asked: verify again', v.id) FROM v WHERE v.asked = ''
UNION ALL SELECT 'fail', format('verification %s asked other checks than the job does: it asked %s', v.id, COALESCE((SELECT string_agg(c->>'name', ', ') FROM jsonb_array_elements(v.checks) AS c), 'none')) FROM v WHERE v.asked <> $6::text AND v.asked <> ''
UNION ALL SELECT 'fail', format('verification %s, check %s: no range of it was read', v.id, c->>'name') FROM v, jsonb_array_elements(v.checks) AS c WHERE COALESCE((c->>'ranges')::bigint, 0) = 0
UNION ALL SELECT 'unknown', format('verification %s, which asked other checks (%s), found %s wrong rows, and these were not asked again since', o.id, (SELECT string_agg(c->>'name', ', ') FROM jsonb_array_elements(o.checks) AS c), o.mismatches)
  FROM (SELECT DISTINCT ON (n.asked) n.* FROM pgbackfill.verifications AS n WHERE n.job = $1::text AND n.state = 'ended' AND n.run_id = $2::bigint AND n.spec_hash = $3::text ORDER BY n.asked, n.id DESC) AS o
 WHERE o.asked <> $6::text AND o.verdict = 'mismatched'
   AND (o.asked <> '' OR (SELECT array_agg(c->>'name') FROM jsonb_array_elements(o.checks) AS c) IS DISTINCT FROM (SELECT array_agg(c->>'name') FROM v, jsonb_array_elements(v.checks) AS c))
UNION ALL SELECT 'fail', format('verification %s read another table than run %s: %s, with the oid %s', v.id, r.id, v.table_name, v.table_oid) FROM v JOIN pgbackfill.runs AS r ON r.id = $2::bigint WHERE v.table_oid <> r.table_oid
UNION ALL SELECT 'fail', format('run %s of job %s has changed rows of the table since verification %s began, and no tripwire watches', o.id, o.job, v.id)
  FROM v JOIN pgbackfill.runs AS o ON o.table_oid = v.table_oid AND o.job <> v.job
 WHERE NOT EXISTS (SELECT FROM w) AND EXISTS (SELECT FROM pgbackfill.chunks AS c WHERE c.run_id = o.id AND NOT pg_visible_in_snapshot(c.xid, v.snapshot))
UNION ALL SELECT 'fail', format('run %s was taken back while or after verification %s read', u.run_id, v.id)
  FROM v JOIN pgbackfill.runs AS o ON o.job = v.job JOIN pgbackfill.undos AS u ON u.run_id = o.id WHERE u.ended_at > v.started_at
UNION ALL SELECT 'fail', format('verification %s, which ended after verification %s had begun, is %s', o.id, v.id, o.verdict) FROM v JOIN pgbackfill.verifications AS o ON o.job = v.job AND o.id < v.id AND o.finished_at >= v.started_at AND o.verdict = 'mismatched'
UNION ALL SELECT 'unknown', format('verification %s, check %s: %s rows in scope were met by no row of the join, %s by several, %s are not in scope any more: nobody knows what they should hold', v.id, c->>'name', COALESCE(c->>'unmatched', '0'), COALESCE(c->>'multiple', '0'), COALESCE(c->>'unjudged', '0'))
  FROM v, jsonb_array_elements(v.checks) AS c WHERE COALESCE((c->>'unmatched')::bigint, 0) + COALESCE((c->>'multiple')::bigint, 0) + COALESCE((c->>'unjudged')::bigint, 0) > 0
UNION ALL SELECT 'unknown', format('verification %s could not read the ledger: whether it began after the last chunk is not known', v.id) FROM v WHERE v.ledger_rows IS NULL
UNION ALL SELECT 'fail', format('verification %s began before the last chunk: it saw %s rows of the ledger, and there are %s', v.id, v.ledger_rows, k.n)
  FROM v, LATERAL (SELECT count(*) AS n FROM pgbackfill.chunks WHERE run_id = $2::bigint) AS k WHERE v.ledger_rows <> k.n AND v.run_id = $2::bigint
UNION ALL SELECT 'unknown', format('verification %s was made by an earlier version of pgbackfill, which did not write down what the functions were that the job calls: verify again', v.id) FROM v WHERE v.functions IS NULL AND v.asked <> ''
UNION ALL SELECT 'fail', format('a function that the job calls, %s, was made, replaced or dropped after verification %s began', substring(COALESCE(f.old, f.new) FROM '^(.*) \S+ \S+$'), v.id)
  FROM v, LATERAL (SELECT o.line, n.line FROM unnest(v.functions) AS o(line) FULL JOIN unnest(pgbackfill.called($7::text[])) AS n(line) ON n.line = o.line) AS f(old, new) WHERE v.functions IS NOT NULL AND (f.old IS NULL OR f.new IS NULL)
UNION ALL SELECT 'fail', format('rows were repaired after verification %s, at %s', v.id, v.voided_at) FROM v WHERE v.voided_at IS NOT NULL
UNION ALL SELECT 'fail', format('%s quarantined rows were done after verification %s began', count(*), min(v.id))
  FROM v JOIN pgbackfill.quarantine AS q ON q.run_id = $2::bigint AND q.resolved_at > v.started_at HAVING count(*) > 0
UNION ALL SELECT 'fail', format('verification %s ended at %s, %s ago; it may be %s old', v.id, v.finished_at, date_trunc('second', clock_timestamp() - v.finished_at), make_interval(secs => $4::float8))
  FROM v WHERE v.finished_at < clock_timestamp() - make_interval(secs => $4::float8)
UNION ALL SELECT DISTINCT 'fail', format('verification %s began before the tripwire on %s was set', v.id, t.name)
  FROM v, (SELECT g.tgrelid::regclass::text AS name, ` + wide("g.xmin") + ` AS xid FROM pg_trigger AS g WHERE g.tgfoid = to_regprocedure($5::text)
           UNION ALL SELECT o.name, ` + wide("p.xmin") + ` FROM pg_proc AS p, (SELECT w.table_oid::regclass::text AS name FROM w) AS o WHERE p.oid = to_regprocedure($5::text)) AS t
 WHERE NOT pg_visible_in_snapshot(t.xid, v.snapshot)
UNION ALL SELECT 'unknown', format('verification %s was read on a standby, and what that showed is not known', v.id) FROM v WHERE v.snapshot IS NULL
UNION ALL SELECT 'pass', format('verification %s of run %s by %s on %s, %s to %s: %s rows, none wrong, by %s', v.id, v.run_id, v.role, v.server, v.started_at, v.finished_at, v.rows_checked, (SELECT string_agg(c->>'name', ', ') FROM jsonb_array_elements(v.checks) AS c)) FROM v`,
		Args: [][]byte{Text(a.Job), Int(a.Run), Text(a.SpecHash), seconds(a.MaxAge), Text(TripwireFunction(a.Job) + "()"), Text(a.Asked), TextArray(a.Names)},
	}
}

// GateSoak judges what the tripwire has seen.
func GateSoak(a GateAbout) Statement {
	return Statement{
		Name: "soak", SQL: `WITH RECURSIVE w AS (SELECT * FROM pgbackfill.tripwires WHERE job = $1::text),
tree(oid) AS (SELECT w.table_oid FROM w UNION SELECT i.inhrelid FROM tree JOIN pg_inherits AS i ON i.inhparent = tree.oid),
v AS (SELECT * FROM pgbackfill.verifications WHERE job = $1::text AND state = 'ended' ORDER BY id DESC LIMIT 1),
d AS (SELECT d.* FROM pgbackfill.drift AS d WHERE d.job = $1::text AND d.at > clock_timestamp() - make_interval(secs => $2::float8)
UNION SELECT d.* FROM v, LATERAL (SELECT * FROM pgbackfill.drift AS o WHERE o.xid >= pg_snapshot_xmin(v.snapshot) OFFSET 0) AS d WHERE d.job = $1::text AND NOT pg_visible_in_snapshot(d.xid, v.snapshot)),
wires AS (SELECT DISTINCT c.oid::regclass::text AS name, x.oid IS NULL OR x.tgenabled <> 'A' AS off,
       EXISTS (SELECT FROM jsonb_array_elements(w.triggers) AS e
                WHERE e->>'oid' = x.oid::text AND e->>'xmin' <> x.xmin::text OR e->>'oid' <> x.oid::text AND e->>'trigger' = x.tgname AND e->>'table' = quote_ident(n.nspname) || '.' || quote_ident(c.relname)) AS anew
  FROM w CROSS JOIN tree JOIN pg_class AS c ON c.oid = tree.oid AND c.relkind IN ('r', 'p') JOIN pg_namespace AS n ON n.oid = c.relnamespace
       CROSS JOIN (SELECT DISTINCT e->>'trigger' AS trigger FROM w, jsonb_array_elements(w.triggers) AS e) AS k
       LEFT JOIN pg_trigger AS x ON x.tgrelid = c.oid AND x.tgname = k.trigger AND x.tgfoid = w.function_oid
UNION SELECT 'its function', p.oid IS NULL, p.xmin::text <> w.function_xmin FROM w LEFT JOIN pg_proc AS p ON p.oid = w.function_oid),
seen AS (SELECT COALESCE(pg_sequence_last_value(to_regclass($4::text)), 0) - COALESCE((SELECT max(o.writes) FROM pgbackfill.drift AS o, w WHERE o.job = $1::text AND o.at > w.installed_at), 0) AS writes)
SELECT 'unknown', 'no tripwire watches the commits: nobody knows whether the application writes both' WHERE NOT EXISTS (SELECT FROM w)
UNION ALL SELECT 'fail', format('%s commits broke the relation; the last at %s by %s (%s) from %s, %s of %s: %s', count(*) OVER (), d.at, d.role, d.application, COALESCE(host(d.client), 'the server itself'), d.operation, d.key, left(d.query, 300))
  FROM (SELECT * FROM d WHERE d.sqlstate IS NULL ORDER BY d.id DESC) AS d WHERE true
UNION ALL SELECT 'fail', format('%s records of commits that broke the relation, or of which the tripwire could not tell, could not be written to pgbackfill.drift', n.lost)
  FROM w, LATERAL (SELECT pg_sequence_last_value(c.oid) AS lost FROM pg_class AS c WHERE c.oid = w.unwritten) AS n WHERE n.lost > 0
UNION ALL SELECT 'unknown', format('the tripwire could not tell of %s commits; the last at %s by %s (%s): %s: %s', count(*) OVER (), d.at, d.role, d.application, d.sqlstate, d.message) FROM d WHERE d.sqlstate IS NOT NULL
UNION ALL SELECT 'fail', format('nobody watches now: the tripwire, %s, is switched off or gone', x.name) FROM wires AS x WHERE x.off
UNION ALL SELECT 'fail', format('the tripwire, %s, was switched off or made anew after %s: since when it has watched without a break nobody knows', x.name, w.installed_at) FROM wires AS x, w WHERE x.anew AND NOT x.off
UNION ALL SELECT 'fail', 'the tripwire was made by an earlier version of pgbackfill, which a setting of the session passes by: make it anew' FROM w WHERE w.unwritten IS NULL OR NOT w.by_transaction
UNION ALL SELECT 'fail', format('the tripwire has watched since %s, %s of %s', w.installed_at, date_trunc('second', clock_timestamp() - w.installed_at), make_interval(secs => $2::float8))
  FROM w WHERE w.installed_at > clock_timestamp() - make_interval(secs => $2::float8)
UNION ALL SELECT 'fail', format('%s writes were seen to be right, of %s', seen.writes, $3::bigint) FROM seen, w WHERE seen.writes < $3::bigint
UNION ALL SELECT 'unknown', 'values come from other tables too, whose changes the tripwire does not see: the relation held when it was verified, and nobody watches it since' FROM w WHERE w.elsewhere
UNION ALL SELECT 'unknown', 'the scope mentions what is written: the tripwire only sees rows that are left to be filled' FROM w WHERE w.residual
UNION ALL SELECT 'pass', format('since %s, %s writes seen to be right, no drift within %s', w.installed_at, seen.writes, make_interval(secs => $2::float8)) FROM w, seen
 LIMIT 12`,
		Args: [][]byte{Text(a.Job), seconds(a.Soak), Int(a.MinWrites), Text(TripwireSequence(a.Job))},
	}
}

// GateTransactions looks for what was open before the last chunk was committed.
func GateTransactions(a GateAbout) Statement {
	return Statement{
		Name: "old transactions", SQL: `WITH last AS (SELECT max(c.committed_at) AS at, max(c.xid::text::bigint)::text::xid8 AS xid FROM pgbackfill.chunks AS c WHERE c.run_id = $1::bigint)
SELECT 'fail', format('process %s of %s (%s) is in a transaction since %s, and the last chunk is of %s', a.pid, a.usename, a.application_name, a.xact_start, last.at)
  FROM pg_stat_activity AS a, last
 WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.xact_start < last.at AND (a.backend_xid IS NOT NULL OR a.backend_xmin IS NOT NULL)
   AND a.backend_type <> 'autovacuum worker'
UNION ALL SELECT 'fail', format('the prepared transaction %s of %s is older than the last chunk', p.gid, p.owner)
  FROM pg_prepared_xacts AS p, last WHERE p.database = current_database() AND ` + wide("p.transaction") + ` < last.xid
UNION ALL SELECT 'unknown', format('role %s may not see the transactions of %s others: GRANT pg_read_all_stats', CURRENT_USER, count(*))
  FROM pg_stat_activity AS h WHERE h.datname = current_database() AND h.state IS NULL AND h.backend_type IS NULL AND NOT pg_has_role(CURRENT_USER, 'pg_read_all_stats', 'USAGE') HAVING count(*) > 0
UNION ALL SELECT 'unknown', 'there is no ledger of a last chunk' FROM last WHERE last.at IS NULL AND (SELECT r.estimated_rows FROM pgbackfill.runs AS r WHERE r.id = $1::bigint) > 0
UNION ALL SELECT 'pass', format('the last chunk is of %s, and nothing that is open is older', last.at) FROM last`,
		Args: [][]byte{Int(a.Run)},
	}
}
