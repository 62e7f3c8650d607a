package pgsql

import (
	"strconv"
)

// gateDropped are the columns that will be dropped, with those of partitions and children: $1 and $2.
const gateDropped = `WITH RECURSIVE tree(rel, att) AS (
  SELECT * FROM unnest($1::oid[], $2::name[])
  UNION
  SELECT i.inhrelid, tree.att FROM tree JOIN pg_inherits AS i ON i.inhparent = tree.rel
), dropped AS (
  SELECT a.attrelid AS rel, a.attnum AS num, a.attname AS att, tree.rel::regclass::text || '.' || quote_ident(a.attname) AS name
    FROM tree JOIN pg_attribute AS a ON a.attrelid = tree.rel AND a.attname = tree.att AND a.attnum > 0 AND NOT a.attisdropped
), tables AS (SELECT DISTINCT rel FROM dropped)`

func (a GateAbout) dropped() [][]byte {
	oids := make([]string, len(a.Relations))
	for i, oid := range a.Relations {
		oids[i] = strconv.FormatUint(uint64(oid), 10)
	}
	return [][]byte{TextArray(oids), TextArray(a.Columns)}
}

// ofOthers are, as p, functions of the engine's own that are another job's tripwire or dual write, whose number and parameters are
// $3 and $4; calledOurs is what they are called.
const (
	ofOthers   = `(starts_with(p.proname::text, 'tripwire_') OR starts_with(p.proname::text, 'dual_write_')) AND p.oid IS DISTINCT FROM to_regprocedure($3::text) AND p.oid IS DISTINCT FROM to_regprocedure($4::text)`
	calledOurs = `COALESCE(substring(obj_description(p.oid, 'pg_proc') FROM '^pgbackfill: (.*)[.] Remove it'), p.oid::regprocedure::text)`
)

// own are the functions of the job's own triggers.
func (a GateAbout) own() [][]byte {
	return [][]byte{Text(TripwireFunction(a.Job) + "()"), Text(DualWriteFunction(a.Job) + "()")}
}

// GateDependencies looks for what DROP COLUMN would refuse to leave without: the job's own triggers go before, and other jobs' do not.
func GateDependencies(a GateAbout) Statement {
	return Statement{Name: "dependencies", SQL: gateDropped + `
SELECT DISTINCT 'fail', format('%s depends on %s', COALESCE((SELECT ` + calledOurs + ` || ' on ' || g.tgrelid::regclass FROM pg_trigger AS g JOIN pg_proc AS p ON p.oid = g.tgfoid JOIN pg_namespace AS n ON n.oid = p.pronamespace
           WHERE d.classid = 'pg_trigger'::regclass AND g.oid = d.objid AND n.nspname = 'pgbackfill'), 'view ' || w.ev_class::regclass::text, 'policy ' || quote_ident(l.polname) || ' on ' || l.polrelid::regclass::text, pg_describe_object(d.classid, d.objid, d.objsubid)), x.name)
  FROM dropped AS x JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = x.rel AND d.refobjsubid = x.num AND d.deptype = 'n'
       LEFT JOIN pg_rewrite AS w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid AND w.rulename = '_RETURN'
       LEFT JOIN pg_policy AS l ON d.classid = 'pg_policy'::regclass AND l.oid = d.objid
 WHERE d.classid <> 'pg_constraint'::regclass
   AND NOT (d.classid = 'pg_class'::regclass AND d.objid = x.rel)
   AND NOT (d.classid = 'pg_trigger'::regclass AND d.objid IN (
         SELECT g.oid FROM pg_trigger AS g JOIN pg_proc AS p ON p.oid = g.tgfoid JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE n.nspname = 'pgbackfill' AND NOT (` + ofOthers + `)))
 ORDER BY 2`, Args: append(a.dropped(), a.own()...)}
}

// GateSilent looks for what DROP COLUMN takes along without a word. A plain index over what is dropped alone is no loss.
func GateSilent(a GateAbout) Statement {
	return Statement{Name: "dropped silently", SQL: gateDropped + `
SELECT DISTINCT CASE WHEN i.indexrelid IS NOT NULL AND NOT i.indisunique AND NOT i.indisexclusion AND i.indpred IS NULL AND i.indexprs IS NULL
                          AND NOT EXISTS (SELECT FROM unnest(i.indkey) AS k(num) WHERE NOT EXISTS (SELECT FROM dropped AS o WHERE o.rel = i.indrelid AND o.num = k.num)) THEN 'pass' ELSE 'fail' END,
       format('%s goes with %s%s', pg_describe_object(d.classid, d.objid, d.objsubid), x.name, COALESCE(': ' || pg_get_indexdef(i.indexrelid), ': ' || pg_get_constraintdef(c.oid), ': ' || pg_get_statisticsobjdef(s.oid), ''))
  FROM dropped AS x JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = x.rel AND d.refobjsubid = x.num AND d.deptype IN ('a', 'i')
       LEFT JOIN pg_index AS i ON d.classid = 'pg_class'::regclass AND i.indexrelid = d.objid
       LEFT JOIN pg_constraint AS c ON d.classid = 'pg_constraint'::regclass AND c.oid = d.objid
       LEFT JOIN pg_statistic_ext AS s ON d.classid = 'pg_statistic_ext'::regclass AND s.oid = d.objid
 WHERE NOT (d.classid = 'pg_attrdef'::regclass AND EXISTS (SELECT FROM pg_attrdef AS f WHERE f.oid = d.objid AND f.adrelid = x.rel AND f.adnum = x.num))
   AND c.contype IS DISTINCT FROM 'f'
 ORDER BY 1, 2`, Args: a.dropped()}
}

// GateFunctions searches the bodies of functions, which the server does not parse before they are called.
func GateFunctions(a GateAbout) Statement {
	return Statement{Name: "functions", SQL: gateDropped + `, bodies AS (
  SELECT p.oid, p.prosrc, p.prorettype = 'trigger'::regtype AS fires, CASE WHEN n.nspname = 'pgbackfill' THEN ` + calledOurs + ` ELSE p.oid::regprocedure::text END AS name
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace JOIN pg_language AS l ON l.oid = p.prolang
   WHERE (n.nspname NOT IN ('pg_catalog', 'information_schema', 'pgbackfill') OR n.nspname = 'pgbackfill' AND ` + ofOthers + `) AND l.lanname NOT IN ('c', 'internal') AND p.prosqlbody IS NULL
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
 ORDER BY 1, 2`, Args: append(a.dropped(), a.own()...)}
}

// GateReferences looks at what else hangs on the columns: foreign keys, the replica identity, partition keys, grants, children.
func GateReferences(a GateAbout) Statement {
	return Statement{Name: "references", SQL: gateDropped + `
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
 ORDER BY 2`, Args: a.dropped()}
}

// GateConstraints looks for what is there and does not hold yet.
func GateConstraints(a GateAbout) Statement {
	return Statement{Name: "constraints", SQL: gateDropped + `, all_tables AS (SELECT rel FROM tables UNION SELECT $3::oid)
SELECT 'fail', format('constraint %s on %s is not validated', quote_ident(c.conname), c.conrelid::regclass) FROM all_tables AS t JOIN pg_constraint AS c ON c.conrelid = t.rel
 WHERE NOT c.convalidated AND COALESCE((to_jsonb(c) ->> 'conenforced')::bool, true) -- a column that PostgreSQL 18 has
UNION ALL SELECT 'fail', format('index %s on %s is invalid', i.indexrelid::regclass, i.indrelid::regclass) FROM all_tables AS t JOIN pg_index AS i ON i.indrelid = t.rel
 WHERE NOT i.indisvalid AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index AS p WHERE p.index_relid = i.indexrelid)
UNION ALL SELECT 'unknown', format('an index is being built on %s', p.relid::regclass) FROM all_tables AS t JOIN pg_stat_progress_create_index AS p ON p.relid = t.rel
 ORDER BY 1, 2`, Args: append(a.dropped(), Int(int64(a.Table)))}
}

// GateReplication lists who else receives the columns.
func GateReplication(a GateAbout) Statement {
	return Statement{Name: "replication", SQL: gateDropped + `
SELECT DISTINCT 'fail', format('publication %s carries %s: its subscribers lose it', quote_ident(p.pubname), x.name)
  FROM dropped AS x JOIN pg_class AS c ON c.oid = x.rel JOIN pg_namespace AS n ON n.oid = c.relnamespace
       JOIN pg_publication_tables AS p ON p.schemaname = n.nspname AND p.tablename = c.relname
 WHERE COALESCE(to_jsonb(p)->'attnames' ? x.att::text, true)
UNION ALL SELECT 'unknown', format('what reads the logical replication slot %s (%s) only its owner can tell', s.slot_name, s.plugin)
  FROM pg_replication_slots AS s WHERE s.slot_type = 'logical' AND s.database = current_database()
 ORDER BY 1, 2`, Args: a.dropped()}
}

// GateBlinded looks whether the role that verified saw all rows and columns.
func GateBlinded(a GateAbout) Statement {
	return Statement{Name: "blinded", SQL: `WITH v AS (SELECT * FROM pgbackfill.verifications WHERE job = $1::text AND state = 'ended' ORDER BY id DESC LIMIT 1)
SELECT 'unknown', 'no verification has ended' WHERE NOT EXISTS (SELECT FROM v)
UNION ALL SELECT 'fail', format('role %s did not see everything in verification %s: %s', v.role, v.id, array_to_string(v.blinded_by, '; ')) FROM v WHERE v.blinded
UNION ALL SELECT 'unknown', format('role %s, which verified, is not there any more', v.role) FROM v WHERE NOT v.in_recovery AND NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = v.role)
UNION ALL SELECT 'pass', format('role %s saw all rows and columns', v.role) FROM v WHERE NOT v.blinded`, Args: [][]byte{Text(a.Job)}}
}

// GateUndo looks for what the run kept.
func GateUndo(a GateAbout) Statement {
	return Statement{Name: "undo", SQL: `SELECT u.table_name, to_regclass(format('pgbackfill.undo_%s_%s', u.run_id, u.no)) IS NOT NULL FROM pgbackfill.undo_tables AS u WHERE u.run_id = $1::bigint ORDER BY u.no`, Args: [][]byte{Int(a.Run)}}
}

// GateStandbys asks the primary for its standbys, after what was written so far has an address in its log: their names, and
// how many bytes of that each has not replayed, NULL where that is not to be seen.
func GateStandbys(lsn string) Statement {
	return Statement{Name: "standbys", SQL: `SELECT COALESCE(NULLIF(r.application_name, ''), host(r.client_addr), 'pid ' || r.pid), CASE WHEN r.replay_lsn IS NOT NULL THEN GREATEST(pg_wal_lsn_diff($1::pg_lsn, r.replay_lsn), 0)::bigint END
  FROM pg_stat_replication AS r LEFT JOIN pg_replication_slots AS s ON s.active_pid = r.pid
 WHERE s.slot_type IS DISTINCT FROM 'logical' AND r.state IS DISTINCT FROM 'backup' ORDER BY 1`, Args: [][]byte{Text(lsn)}}
}

// GatePosition is how far the primary's log is written: every commit that was acknowledged lies before it.
var GatePosition = Statement{Name: "position", SQL: "SELECT pg_current_wal_insert_lsn()"}

// GateLastRow asks a standby whether it shows all rows of the ledger.
func GateLastRow(a GateAbout) Statement {
	return Statement{Name: "ledger", SQL: `SELECT count(*) FROM pgbackfill.chunks AS c WHERE c.run_id = $1::bigint`, Args: [][]byte{Int(a.Run)}}
}
