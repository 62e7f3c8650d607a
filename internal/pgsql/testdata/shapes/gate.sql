-- begin
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
-- settings
SELECT pg_catalog.set_config('search_path', $1, true),
       pg_catalog.set_config('TimeZone', $2, true),
       pg_catalog.set_config('DateStyle', $3, true),
       pg_catalog.set_config('IntervalStyle', $4, true),
       pg_catalog.set_config('row_security', $5, true),
       pg_catalog.set_config('jit', $6, true),
       CASE WHEN pg_catalog.current_setting('transaction_timeout', true) IS NOT NULL THEN pg_catalog.set_config('transaction_timeout', $7, true) END;
-- $1 = "pg_catalog, pg_temp"
-- $2 = "UTC"
-- $3 = "ISO, MDY"
-- $4 = "postgres"
-- $5 = "off"
-- $6 = "off"
-- $7 = "0"
-- moment
SELECT pg_current_snapshot()::text, extract(epoch FROM clock_timestamp());
-- run
SELECT r.id, r.state, r.table_oid, r.table_name, r.spec_hash, COALESCE(r.plan->>'search_path', '')
  FROM pgbackfill.runs AS r WHERE r.job = $1::text ORDER BY r.id DESC LIMIT 1;
-- $1 = "users"
-- column
WITH found AS (
  SELECT c.oid, n.nspname, c.relname
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
   WHERE c.relname = $2::name AND c.relkind IN ('r', 'p') AND CASE WHEN $1::text <> '' THEN n.nspname = $1::text
         ELSE c.oid = $4::oid OR pg_table_is_visible(c.oid) OR NOT EXISTS (SELECT FROM pg_class AS o WHERE o.relname = $2::name AND o.relkind IN ('r', 'p') AND o.oid <> c.oid) END
   ORDER BY c.oid = $4::oid DESC LIMIT 1
)
SELECT COALESCE(f.oid, 0), COALESCE(quote_ident(f.nspname) || '.' || quote_ident(f.relname), ''),
       EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = f.oid AND a.attname = $3::name AND a.attnum > 0 AND NOT a.attisdropped)
  FROM (SELECT) AS one LEFT JOIN found AS f ON true;
-- $1 = ""
-- $2 = "users"
-- $3 = "full_name"
-- $4 = "16384"
-- coverage
WITH r AS (SELECT * FROM pgbackfill.runs WHERE id = $1::bigint),
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
SELECT 'pass', format('run %s: %s chunks in %s segments; rows above the last key are part of the verification', r.id, (SELECT count(*) FROM c WHERE c.fence IS NULL), (SELECT count(*) FROM s)) FROM r;
-- $1 = "7"
-- $2 = "abc"
-- verified
WITH v AS (SELECT * FROM pgbackfill.verifications WHERE job = $1::text AND state = 'ended' ORDER BY id DESC LIMIT 1),
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
  FROM v, (SELECT g.tgrelid::regclass::text AS name, (SELECT GREATEST((x.now >> 32 << 32) + g.xmin::text::bigint - CASE WHEN (x.now >> 32 << 32) + g.xmin::text::bigint > x.now THEN 4294967296 ELSE 0 END, 3)::text::xid8
                FROM (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS now) AS x) AS xid FROM pg_trigger AS g WHERE g.tgfoid = to_regprocedure($5::text)
           UNION ALL SELECT o.name, (SELECT GREATEST((x.now >> 32 << 32) + p.xmin::text::bigint - CASE WHEN (x.now >> 32 << 32) + p.xmin::text::bigint > x.now THEN 4294967296 ELSE 0 END, 3)::text::xid8
                FROM (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS now) AS x) FROM pg_proc AS p, (SELECT w.table_oid::regclass::text AS name FROM w) AS o WHERE p.oid = to_regprocedure($5::text)) AS t
 WHERE NOT pg_visible_in_snapshot(t.xid, v.snapshot)
UNION ALL SELECT 'unknown', format('verification %s was read on a standby, and what that showed is not known', v.id) FROM v WHERE v.snapshot IS NULL
UNION ALL SELECT 'pass', format('verification %s of run %s by %s on %s, %s to %s: %s rows, none wrong, by %s', v.id, v.run_id, v.role, v.server, v.started_at, v.finished_at, v.rows_checked, (SELECT string_agg(c->>'name', ', ') FROM jsonb_array_elements(v.checks) AS c)) FROM v;
-- $1 = "users"
-- $2 = "7"
-- $3 = "abc"
-- $4 = "3600"
-- $5 = "\"pgbackfill\".\"tripwire_users\"()"
-- $6 = ""
-- $7 = ""
-- scope
WITH v AS (SELECT * FROM pgbackfill.verifications WHERE job = $1::text AND state = 'ended' ORDER BY id DESC LIMIT 1),
s AS (SELECT v.id, c->'scope' AS s FROM v, jsonb_array_elements(v.checks) AS c WHERE jsonb_typeof(c->'scope') = 'object' LIMIT 1)
SELECT 'unknown', 'no verification has ended: nobody has looked at the rows outside of the scope' WHERE NOT EXISTS (SELECT FROM v)
UNION ALL SELECT 'unknown', format('verification %s has not counted the rows outside of the scope: verify again', v.id) FROM v WHERE NOT EXISTS (SELECT FROM s)
UNION ALL SELECT 'unknown', format('verification %s has not looked at %s in the rows outside of the scope: verify again', s.id, n.n) FROM s, unnest($2::text[]) AS n(n) WHERE NOT COALESCE(s.s->'dropped' ? n.n, false)
UNION ALL SELECT 'unknown', format('%s is not of the walked table: which of its values the scope leaves out nobody has counted', n.n) FROM unnest($3::text[]) AS n(n)
UNION ALL SELECT 'unknown', format('verification %s was made by an earlier version of pgbackfill, which counted the columns together: verify again', s.id) FROM s WHERE s.s->'only' IS NULL AND jsonb_array_length(s.s->'dropped') > 1
UNION ALL SELECT 'fail', format('%s of %s rows are not in scope and have a value in %s, and none in what replaces it: the only copy would be dropped', COALESCE(s.s->'only'->>(d.no - 1)::int, s.s->>'alone'), s.s->>'rows', d.name)
  FROM s, jsonb_array_elements_text(s.s->'dropped') WITH ORDINALITY AS d(name, no) WHERE COALESCE(s.s->'only'->>(d.no - 1)::int, s.s->>'alone')::bigint > 0
UNION ALL SELECT 'unknown', format('%s of %s rows are not in scope and have a value in %s and in what replaces it: nobody has compared them', s.s->>'beside', s.s->>'rows', array_to_string($2::text[], ', ')) FROM s WHERE (s.s->>'beside')::bigint > 0
UNION ALL SELECT 'pass', format('%s of %s rows are in scope; none of the others has in %s the only copy of something', s.s->>'inside', s.s->>'rows', array_to_string($2::text[], ', ')) FROM s;
-- $1 = "users"
-- $2 = "{\"full_name\"}"
-- $3 = "{}"
-- soak
WITH RECURSIVE w AS (SELECT * FROM pgbackfill.tripwires WHERE job = $1::text),
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
 LIMIT 12;
-- $1 = "users"
-- $2 = "86400"
-- $3 = "1000"
-- $4 = "\"pgbackfill\".\"tripwire_writes_users\""
-- old transactions
WITH last AS (SELECT max(c.committed_at) AS at, max(c.xid::text::bigint)::text::xid8 AS xid FROM pgbackfill.chunks AS c WHERE c.run_id = $1::bigint)
SELECT 'fail', format('process %s of %s (%s) is in a transaction since %s, and the last chunk is of %s', a.pid, a.usename, a.application_name, a.xact_start, last.at)
  FROM pg_stat_activity AS a, last
 WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.xact_start < last.at AND (a.backend_xid IS NOT NULL OR a.backend_xmin IS NOT NULL)
   AND a.backend_type <> 'autovacuum worker'
UNION ALL SELECT 'fail', format('the prepared transaction %s of %s is older than the last chunk', p.gid, p.owner)
  FROM pg_prepared_xacts AS p, last WHERE p.database = current_database() AND (SELECT GREATEST((x.now >> 32 << 32) + p.transaction::text::bigint - CASE WHEN (x.now >> 32 << 32) + p.transaction::text::bigint > x.now THEN 4294967296 ELSE 0 END, 3)::text::xid8
                FROM (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS now) AS x) < last.xid
UNION ALL SELECT 'unknown', format('role %s may not see the transactions of %s others: GRANT pg_read_all_stats', CURRENT_USER, count(*))
  FROM pg_stat_activity AS h WHERE h.datname = current_database() AND h.state IS NULL AND h.backend_type IS NULL AND NOT pg_has_role(CURRENT_USER, 'pg_read_all_stats', 'USAGE') HAVING count(*) > 0
UNION ALL SELECT 'unknown', 'there is no ledger of a last chunk' FROM last WHERE last.at IS NULL AND (SELECT r.estimated_rows FROM pgbackfill.runs AS r WHERE r.id = $1::bigint) > 0
UNION ALL SELECT 'pass', format('the last chunk is of %s, and nothing that is open is older', last.at) FROM last;
-- $1 = "7"
-- dependencies
WITH RECURSIVE tree(rel, att) AS (
  SELECT * FROM unnest($1::oid[], $2::name[])
  UNION
  SELECT i.inhrelid, tree.att FROM tree JOIN pg_inherits AS i ON i.inhparent = tree.rel
), dropped AS (
  SELECT a.attrelid AS rel, a.attnum AS num, a.attname AS att, tree.rel::regclass::text || '.' || quote_ident(a.attname) AS name
    FROM tree JOIN pg_attribute AS a ON a.attrelid = tree.rel AND a.attname = tree.att AND a.attnum > 0 AND NOT a.attisdropped
), tables AS (SELECT DISTINCT rel FROM dropped)
SELECT DISTINCT 'fail', format('%s depends on %s', COALESCE((SELECT COALESCE(substring(obj_description(p.oid, 'pg_proc') FROM '^pgbackfill: (.*)[.] Remove it'), p.oid::regprocedure::text) || ' on ' || g.tgrelid::regclass FROM pg_trigger AS g JOIN pg_proc AS p ON p.oid = g.tgfoid JOIN pg_namespace AS n ON n.oid = p.pronamespace
           WHERE d.classid = 'pg_trigger'::regclass AND g.oid = d.objid AND n.nspname = 'pgbackfill'), 'view ' || w.ev_class::regclass::text, 'policy ' || quote_ident(l.polname) || ' on ' || l.polrelid::regclass::text, pg_describe_object(d.classid, d.objid, d.objsubid)), x.name)
  FROM dropped AS x JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = x.rel AND d.refobjsubid = x.num AND d.deptype = 'n'
       LEFT JOIN pg_rewrite AS w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid AND w.rulename = '_RETURN'
       LEFT JOIN pg_policy AS l ON d.classid = 'pg_policy'::regclass AND l.oid = d.objid
 WHERE d.classid <> 'pg_constraint'::regclass
   AND NOT (d.classid = 'pg_class'::regclass AND d.objid = x.rel)
   AND NOT (d.classid = 'pg_trigger'::regclass AND d.objid IN (
         SELECT g.oid FROM pg_trigger AS g JOIN pg_proc AS p ON p.oid = g.tgfoid JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE n.nspname = 'pgbackfill' AND NOT ((starts_with(p.proname::text, 'tripwire_') OR starts_with(p.proname::text, 'dual_write_')) AND p.oid IS DISTINCT FROM to_regprocedure($3::text) AND p.oid IS DISTINCT FROM to_regprocedure($4::text))))
 ORDER BY 2;
-- $1 = "{\"16384\"}"
-- $2 = "{\"full_name\"}"
-- $3 = "\"pgbackfill\".\"tripwire_users\"()"
-- $4 = "\"pgbackfill\".\"dual_write_users\"()"
-- dropped silently
WITH RECURSIVE tree(rel, att) AS (
  SELECT * FROM unnest($1::oid[], $2::name[])
  UNION
  SELECT i.inhrelid, tree.att FROM tree JOIN pg_inherits AS i ON i.inhparent = tree.rel
), dropped AS (
  SELECT a.attrelid AS rel, a.attnum AS num, a.attname AS att, tree.rel::regclass::text || '.' || quote_ident(a.attname) AS name
    FROM tree JOIN pg_attribute AS a ON a.attrelid = tree.rel AND a.attname = tree.att AND a.attnum > 0 AND NOT a.attisdropped
), tables AS (SELECT DISTINCT rel FROM dropped)
SELECT DISTINCT CASE WHEN i.indexrelid IS NOT NULL AND NOT i.indisunique AND NOT i.indisexclusion AND i.indpred IS NULL AND i.indexprs IS NULL
                          AND NOT EXISTS (SELECT FROM unnest(i.indkey) AS k(num) WHERE NOT EXISTS (SELECT FROM dropped AS o WHERE o.rel = i.indrelid AND o.num = k.num)) THEN 'pass' ELSE 'fail' END,
       format('%s goes with %s%s', pg_describe_object(d.classid, d.objid, d.objsubid), x.name, COALESCE(': ' || pg_get_indexdef(i.indexrelid), ': ' || pg_get_constraintdef(c.oid), ': ' || pg_get_statisticsobjdef(s.oid), ''))
  FROM dropped AS x JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = x.rel AND d.refobjsubid = x.num AND d.deptype IN ('a', 'i')
       LEFT JOIN pg_index AS i ON d.classid = 'pg_class'::regclass AND i.indexrelid = d.objid
       LEFT JOIN pg_constraint AS c ON d.classid = 'pg_constraint'::regclass AND c.oid = d.objid
       LEFT JOIN pg_statistic_ext AS s ON d.classid = 'pg_statistic_ext'::regclass AND s.oid = d.objid
 WHERE NOT (d.classid = 'pg_attrdef'::regclass AND EXISTS (SELECT FROM pg_attrdef AS f WHERE f.oid = d.objid AND f.adrelid = x.rel AND f.adnum = x.num))
   AND c.contype IS DISTINCT FROM 'f'
 ORDER BY 1, 2;
-- $1 = "{\"16384\"}"
-- $2 = "{\"full_name\"}"
-- functions
WITH RECURSIVE tree(rel, att) AS (
  SELECT * FROM unnest($1::oid[], $2::name[])
  UNION
  SELECT i.inhrelid, tree.att FROM tree JOIN pg_inherits AS i ON i.inhparent = tree.rel
), dropped AS (
  SELECT a.attrelid AS rel, a.attnum AS num, a.attname AS att, tree.rel::regclass::text || '.' || quote_ident(a.attname) AS name
    FROM tree JOIN pg_attribute AS a ON a.attrelid = tree.rel AND a.attname = tree.att AND a.attnum > 0 AND NOT a.attisdropped
), tables AS (SELECT DISTINCT rel FROM dropped), bodies AS (
  SELECT p.oid, p.prosrc, p.prorettype = 'trigger'::regtype AS fires, CASE WHEN n.nspname = 'pgbackfill' THEN COALESCE(substring(obj_description(p.oid, 'pg_proc') FROM '^pgbackfill: (.*)[.] Remove it'), p.oid::regprocedure::text) ELSE p.oid::regprocedure::text END AS name
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace JOIN pg_language AS l ON l.oid = p.prolang
   WHERE (n.nspname NOT IN ('pg_catalog', 'information_schema', 'pgbackfill') OR n.nspname = 'pgbackfill' AND (starts_with(p.proname::text, 'tripwire_') OR starts_with(p.proname::text, 'dual_write_')) AND p.oid IS DISTINCT FROM to_regprocedure($3::text) AND p.oid IS DISTINCT FROM to_regprocedure($4::text)) AND l.lanname NOT IN ('c', 'internal') AND p.prosqlbody IS NULL
     AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
), mentions AS (
  SELECT DISTINCT b.name AS body, x.name,
         b.prosrc ~* ('\m' || regexp_replace(c.relname, '([^a-zA-Z0-9_])', '\\\1', 'g') || '\M')
         OR b.fires AND EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgfoid = b.oid AND g.tgrelid = x.rel) AS surely
    FROM bodies AS b, dropped AS x JOIN pg_class AS c ON c.oid = x.rel
   WHERE b.prosrc ~* ('(^|[^a-zA-Z0-9_])' || regexp_replace(x.att, '([^a-zA-Z0-9_])', '\\\1', 'g') || '($|[^a-zA-Z0-9_])')
     AND x.rel = ANY ($1::oid[])
)
SELECT CASE WHEN m.surely THEN 'fail' ELSE 'unknown' END,
       format(CASE WHEN m.surely THEN 'the body of %s mentions %s' ELSE 'the body of %s mentions a column of that name, whether it is %s only a reader can tell' END, m.body, m.name)
  FROM mentions AS m
UNION ALL SELECT 'pass', 'by text search: what a body puts together at run time is not seen'
 ORDER BY 1, 2;
-- $1 = "{\"16384\"}"
-- $2 = "{\"full_name\"}"
-- $3 = "\"pgbackfill\".\"tripwire_users\"()"
-- $4 = "\"pgbackfill\".\"dual_write_users\"()"
-- references
WITH RECURSIVE tree(rel, att) AS (
  SELECT * FROM unnest($1::oid[], $2::name[])
  UNION
  SELECT i.inhrelid, tree.att FROM tree JOIN pg_inherits AS i ON i.inhparent = tree.rel
), dropped AS (
  SELECT a.attrelid AS rel, a.attnum AS num, a.attname AS att, tree.rel::regclass::text || '.' || quote_ident(a.attname) AS name
    FROM tree JOIN pg_attribute AS a ON a.attrelid = tree.rel AND a.attname = tree.att AND a.attnum > 0 AND NOT a.attisdropped
), tables AS (SELECT DISTINCT rel FROM dropped)
SELECT DISTINCT 'fail', format('foreign key %s on %s: %s', quote_ident(c.conname), c.conrelid::regclass, pg_get_constraintdef(c.oid))
  FROM dropped AS x JOIN pg_constraint AS c ON c.contype = 'f' AND c.conparentid = 0 AND (c.conrelid = x.rel AND x.num = ANY (c.conkey) OR c.confrelid = x.rel AND x.num = ANY (c.confkey))
UNION ALL SELECT 'fail', format('the replica identity of %s is index %s, which has %s in it', x.rel::regclass, i.indexrelid::regclass, x.name)
  FROM dropped AS x JOIN pg_index AS i ON i.indrelid = x.rel AND i.indisreplident AND x.num = ANY (i.indkey)
UNION ALL SELECT 'fail', format('%s is in the partition key of %s: %s', x.name, p.partrelid::regclass, pg_get_partkeydef(p.partrelid))
  FROM dropped AS x JOIN pg_partitioned_table AS p ON p.partrelid = x.rel
 WHERE x.num = ANY (p.partattrs) OR EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = x.rel AND d.objsubid = x.num AND d.refclassid = 'pg_class'::regclass AND d.refobjid = x.rel AND d.refobjsubid = 0 AND d.deptype = 'i')
UNION ALL SELECT 'fail', format('privileges are granted on %s: %s', x.name, a.attacl)
  FROM dropped AS x JOIN pg_attribute AS a ON a.attrelid = x.rel AND a.attnum = x.num WHERE a.attacl IS NOT NULL AND a.attacl <> '{}'
UNION ALL SELECT 'fail', format('%s keeps the column, which it has by itself too', x.name)
  FROM dropped AS x JOIN pg_attribute AS a ON a.attrelid = x.rel AND a.attnum = x.num JOIN pg_class AS c ON c.oid = x.rel
 WHERE a.attinhcount > 0 AND a.attislocal AND NOT c.relispartition
 ORDER BY 2;
-- $1 = "{\"16384\"}"
-- $2 = "{\"full_name\"}"
-- constraints
WITH RECURSIVE tree(rel, att) AS (
  SELECT * FROM unnest($1::oid[], $2::name[])
  UNION
  SELECT i.inhrelid, tree.att FROM tree JOIN pg_inherits AS i ON i.inhparent = tree.rel
), dropped AS (
  SELECT a.attrelid AS rel, a.attnum AS num, a.attname AS att, tree.rel::regclass::text || '.' || quote_ident(a.attname) AS name
    FROM tree JOIN pg_attribute AS a ON a.attrelid = tree.rel AND a.attname = tree.att AND a.attnum > 0 AND NOT a.attisdropped
), tables AS (SELECT DISTINCT rel FROM dropped), all_tables AS (SELECT rel FROM tables UNION SELECT $3::oid)
SELECT 'fail', format('constraint %s on %s is not validated', quote_ident(c.conname), c.conrelid::regclass) FROM all_tables AS t JOIN pg_constraint AS c ON c.conrelid = t.rel
 WHERE NOT c.convalidated AND COALESCE((to_jsonb(c) ->> 'conenforced')::bool, true) -- a column that PostgreSQL 18 has
UNION ALL SELECT 'fail', format('index %s on %s is invalid', i.indexrelid::regclass, i.indrelid::regclass) FROM all_tables AS t JOIN pg_index AS i ON i.indrelid = t.rel
 WHERE NOT i.indisvalid AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index AS p WHERE p.index_relid = i.indexrelid)
UNION ALL SELECT 'unknown', format('an index is being built on %s', p.relid::regclass) FROM all_tables AS t JOIN pg_stat_progress_create_index AS p ON p.relid = t.rel
 ORDER BY 1, 2;
-- $1 = "{\"16384\"}"
-- $2 = "{\"full_name\"}"
-- $3 = "16384"
-- replication
WITH RECURSIVE tree(rel, att) AS (
  SELECT * FROM unnest($1::oid[], $2::name[])
  UNION
  SELECT i.inhrelid, tree.att FROM tree JOIN pg_inherits AS i ON i.inhparent = tree.rel
), dropped AS (
  SELECT a.attrelid AS rel, a.attnum AS num, a.attname AS att, tree.rel::regclass::text || '.' || quote_ident(a.attname) AS name
    FROM tree JOIN pg_attribute AS a ON a.attrelid = tree.rel AND a.attname = tree.att AND a.attnum > 0 AND NOT a.attisdropped
), tables AS (SELECT DISTINCT rel FROM dropped)
SELECT DISTINCT 'fail', format('publication %s carries %s: its subscribers lose it', quote_ident(p.pubname), x.name)
  FROM dropped AS x JOIN pg_class AS c ON c.oid = x.rel JOIN pg_namespace AS n ON n.oid = c.relnamespace
       JOIN pg_publication_tables AS p ON p.schemaname = n.nspname AND p.tablename = c.relname
 WHERE COALESCE(to_jsonb(p)->'attnames' ? x.att::text, true)
UNION ALL SELECT 'unknown', format('what reads the logical replication slot %s (%s) only its owner can tell', s.slot_name, s.plugin)
  FROM pg_replication_slots AS s WHERE s.slot_type = 'logical' AND s.database = current_database()
 ORDER BY 1, 2;
-- $1 = "{\"16384\"}"
-- $2 = "{\"full_name\"}"
-- blinded
WITH v AS (SELECT * FROM pgbackfill.verifications WHERE job = $1::text AND state = 'ended' ORDER BY id DESC LIMIT 1)
SELECT 'unknown', 'no verification has ended' WHERE NOT EXISTS (SELECT FROM v)
UNION ALL SELECT 'fail', format('role %s did not see everything in verification %s: %s', v.role, v.id, array_to_string(v.blinded_by, '; ')) FROM v WHERE v.blinded
UNION ALL SELECT 'unknown', format('role %s, which verified, is not there any more', v.role) FROM v WHERE NOT v.in_recovery AND NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = v.role)
UNION ALL SELECT 'pass', format('role %s saw all rows and columns', v.role) FROM v WHERE NOT v.blinded;
-- $1 = "users"
-- undo
SELECT u.table_name, to_regclass(format('pgbackfill.undo_%s_%s', u.run_id, u.no)) IS NOT NULL FROM pgbackfill.undo_tables AS u WHERE u.run_id = $1::bigint ORDER BY u.no;
-- $1 = "7"
-- position
SELECT pg_current_wal_insert_lsn();
-- standbys
SELECT COALESCE(NULLIF(r.application_name, ''), host(r.client_addr), 'pid ' || r.pid), CASE WHEN r.replay_lsn IS NOT NULL THEN GREATEST(pg_wal_lsn_diff($1::pg_lsn, r.replay_lsn), 0)::bigint END
  FROM pg_stat_replication AS r LEFT JOIN pg_replication_slots AS s ON s.active_pid = r.pid
 WHERE s.slot_type IS DISTINCT FROM 'logical' AND r.state IS DISTINCT FROM 'backup' ORDER BY 1;
-- $1 = "0/1"
-- ledger
SELECT count(*) FROM pgbackfill.chunks AS c WHERE c.run_id = $1::bigint;
-- $1 = "7"
-- statement counters
SELECT COALESCE((SELECT quote_ident(n.nspname) || '.pg_stat_statements' FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'), ''),
       pg_has_role(CURRENT_USER, 'pg_read_all_stats', 'USAGE');
-- statement resets
SELECT i.stats_reset::text, i.dealloc FROM public.pg_stat_statements_info AS i;
-- statements
WITH s AS (
  SELECT concat_ws(' ', s.userid, s.queryid, s.toplevel) AS statement, s.calls, s.query
    FROM public.pg_stat_statements AS s JOIN pg_database AS d ON d.oid = s.dbid
   WHERE d.datname = current_database() AND regexp_replace(s.query, '/\*.*?\*/|--[^\n]*', '', 'g') !~ 'OPERATOR\(pg_catalog\.|pgbackfill[._]'
), named AS (SELECT * FROM unnest($1::text[], $2::text[]) AS n(col, tab))
SELECT 'named', s.statement, s.calls, left(regexp_replace(s.query, '\s+', ' ', 'g'), 300)
  FROM s WHERE EXISTS (SELECT FROM named AS n WHERE s.query ~* ('(^|[^a-zA-Z0-9_])' || n.col || '($|[^a-zA-Z0-9_])') AND s.query ~* ('(^|[^a-zA-Z0-9_])' || n.tab || '($|[^a-zA-Z0-9_])'))
UNION ALL
SELECT 'unnamed', s.statement, s.calls, left(regexp_replace(s.query, '\s+', ' ', 'g'), 300)
  FROM s WHERE EXISTS (SELECT FROM named AS n WHERE s.query ~* ('(^|[^a-zA-Z0-9_])' || n.tab || '($|[^a-zA-Z0-9_])')
                          AND (s.query ~* '(\mselect|\mreturning|,|\.)\s*\*\s*(,|\mfrom\M|$|\))' OR s.query ~* ('\minsert\s+into\s+([a-z0-9_"]+\.)?"?' || n.tab || '"?\s+(values|select|default)')))
 ORDER BY 1, 2;
-- $1 = "{\"full_name\"}"
-- $2 = "{\"users\"}"
-- statement look
INSERT INTO pgbackfill.statement_looks AS l (job, server, reset, evicted) VALUES ($1::text, $2::text, $3::text, $4::bigint)
    ON CONFLICT (job, server) DO UPDATE SET reset = EXCLUDED.reset, evicted = EXCLUDED.evicted,
       since = CASE WHEN l.reset = EXCLUDED.reset AND l.evicted = EXCLUDED.evicted THEN l.since ELSE clock_timestamp() END
RETURNING extract(epoch FROM clock_timestamp() - l.since), l.since >= statement_timestamp();
-- $1 = "users"
-- $2 = "primary"
-- $3 = "now"
-- $4 = "0"
-- statement mark
INSERT INTO pgbackfill.statement_marks AS m (job, server, statement, kind, calls, query, changed_at)
VALUES ($1::text, $2::text, $3::text, $4::text, $5::bigint, $6::text, CASE WHEN NOT $7::boolean THEN clock_timestamp() END)
    ON CONFLICT (job, server, statement, kind) DO UPDATE SET calls = EXCLUDED.calls, changed_at = CASE WHEN m.calls = EXCLUDED.calls OR $7::boolean THEN m.changed_at ELSE clock_timestamp() END
RETURNING extract(epoch FROM clock_timestamp() - m.changed_at);
-- $1 = "users"
-- $2 = "primary"
-- $3 = "1 2 t"
-- $4 = "named"
-- $5 = "3"
-- $6 = "SELECT 1"
-- $7 = "true"
-- waivers
SELECT DISTINCT ON (w.condition) w.condition, w.why, extract(epoch FROM w.until), w.who, extract(epoch FROM w.at)
  FROM pgbackfill.waivers AS w WHERE w.job = $1::text AND w.until > clock_timestamp() ORDER BY w.condition, w.id DESC;
-- $1 = "users"
-- waive
INSERT INTO pgbackfill.waivers (job, condition, why, until, who) VALUES ($1::text, $2::text, $3::text, to_timestamp($4::float8), $5::text);
-- $1 = "users"
-- $2 = "soak"
-- $3 = "why"
-- $4 = "0"
-- $5 = "ann"
-- gate
WITH made AS (
  SELECT 0::bigint AS id, $1::text AS job, $2::bigint AS run_id, $3::text AS spec_hash, $4::oid AS table_oid, $5::oid[] AS relations, $6::text[] AS columns, $7::text AS verdict, $8::jsonb AS conditions,
         $16::bigint AS verification_id, $17::bigint AS ledger_rows, $18::text AS shape,
         $9::boolean AS watched, to_timestamp($10::float8) AS waived_until, make_interval(secs => $11::float8) AS report_max_age, $12::pg_snapshot AS snapshot, to_timestamp($13::float8) AS began_at,
         $19::text AS asked, $20::smallint[] AS attributes, $21::text[] AS names, $22::text[] AS functions
)
INSERT INTO pgbackfill.gates (job, run_id, spec_hash, table_oid, relations, columns, verdict, conditions, verification_id, ledger_rows, watched, shape, waived_until, report_max_age, snapshot, began_at, who, tool_version, asked, attributes, names, functions, digest)
SELECT m.job, m.run_id, m.spec_hash, m.table_oid, m.relations, m.columns, m.verdict, m.conditions, m.verification_id, m.ledger_rows, m.watched, m.shape, m.waived_until, m.report_max_age, m.snapshot, m.began_at, $14::text, $15::text, m.asked, m.attributes, m.names, m.functions,
       pgbackfill.gate_digest(ROW(m.id, m.job, m.run_id, m.spec_hash, m.table_oid, m.relations, m.columns, m.verdict, m.conditions, m.verification_id, m.ledger_rows, m.watched, m.shape, m.waived_until,
         m.report_max_age, m.snapshot, m.began_at, m.began_at, NULL, '', '', '', m.asked, m.attributes, m.names, m.functions)::pgbackfill.gates)
  FROM made AS m RETURNING id;
-- $1 = "users"
-- $2 = "7"
-- $3 = "abc"
-- $4 = "16384"
-- $5 = "{\"16384\"}"
-- $6 = "{\"full_name\"}"
-- $7 = "ready"
-- $8 = "[]"
-- $9 = "false"
-- $10 = ""
-- $11 = "3600"
-- $12 = "1:1:"
-- $13 = "0"
-- $14 = "ann"
-- $15 = "dev"
-- $16 = ""
-- $17 = ""
-- $18 = ""
-- $19 = ""
-- $20 = ""
-- $21 = ""
-- $22 = ""
