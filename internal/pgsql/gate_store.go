package pgsql

import (
	"strconv"
	"time"
)

// GateStatements reads the counters of the statements on one server that name what will be dropped, or may read it without
// naming it ("unnamed"); view is quoted, columns and tables are regular expressions. Statements of the engine's own are left out, known by
// how they are written, whatever a comment in a statement says.
func GateStatements(view string, columns, tables []string) Statement {
	return Statement{Name: "statements", SQL: `WITH s AS (
  SELECT concat_ws(' ', s.userid, s.queryid, s.toplevel) AS statement, s.calls, s.query
    FROM ` + view + ` AS s JOIN pg_database AS d ON d.oid = s.dbid
   WHERE d.datname = current_database() AND regexp_replace(s.query, '/\*.*?\*/|--[^\n]*', '', 'g') !~ 'OPERATOR\(pg_catalog\.|pgbackfill[._]'
), named AS (SELECT * FROM unnest($1::text[], $2::text[]) AS n(col, tab))
SELECT 'named', s.statement, s.calls, left(regexp_replace(s.query, '\s+', ' ', 'g'), 300)
  FROM s WHERE EXISTS (SELECT FROM named AS n WHERE s.query ~* ('(^|[^a-zA-Z0-9_])' || n.col || '($|[^a-zA-Z0-9_])') AND s.query ~* ('(^|[^a-zA-Z0-9_])' || n.tab || '($|[^a-zA-Z0-9_])'))
UNION ALL
SELECT 'unnamed', s.statement, s.calls, left(regexp_replace(s.query, '\s+', ' ', 'g'), 300)
  FROM s WHERE EXISTS (SELECT FROM named AS n WHERE s.query ~* ('(^|[^a-zA-Z0-9_])' || n.tab || '($|[^a-zA-Z0-9_])')
                          AND (s.query ~* '(\mselect|\mreturning|,|\.)\s*\*\s*(,|\mfrom\M|$|\))' OR s.query ~* ('\minsert\s+into\s+([a-z0-9_"]+\.)?"?' || n.tab || '"?\s+(values|select|default)')))
 ORDER BY 1, 2`, Args: [][]byte{TextArray(columns), TextArray(tables)}}
}

// GateCounters asks what there is of pg_stat_statements: the view's quoted name, "" where it is not there, and whether this role
// may see the statements of others.
var GateCounters = Statement{Name: "statement counters", SQL: `SELECT COALESCE((SELECT quote_ident(n.nspname) || '.pg_stat_statements' FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'), ''),
       pg_has_role(CURRENT_USER, 'pg_read_all_stats', 'USAGE')`}

// GateResets reads when counters were reset, and how often statements were thrown out; view is quoted.
func GateResets(view string) Statement {
	return Statement{Name: "statement resets", SQL: "SELECT i.stats_reset::text, i.dealloc FROM " + view + "_info AS i"}
}

// GateLook writes down a look at a server's counters, and begins anew where they were reset or statements were thrown out. Its
// answer is for how many seconds they have been watched, and whether that has just begun.
func GateLook(job, server, reset string, evicted int64) Statement {
	return Statement{Name: "statement look", SQL: `INSERT INTO pgbackfill.statement_looks AS l (job, server, reset, evicted) VALUES ($1::text, $2::text, $3::text, $4::bigint)
    ON CONFLICT (job, server) DO UPDATE SET reset = EXCLUDED.reset, evicted = EXCLUDED.evicted,
       since = CASE WHEN l.reset = EXCLUDED.reset AND l.evicted = EXCLUDED.evicted THEN l.since ELSE clock_timestamp() END
RETURNING extract(epoch FROM clock_timestamp() - l.since), l.since >= statement_timestamp()`, Args: [][]byte{Text(job), Text(server), Text(reset), Int(evicted)}}
}

// GateMark writes down how often a statement had been called. Its answer is how many seconds ago a look saw it called, NULL where
// none has. The first look, or the first one after a reset, says nothing of calls.
func GateMark(job, server, statement, kind string, calls int64, query string, first bool) Statement {
	return Statement{
		Name: "statement mark", SQL: `INSERT INTO pgbackfill.statement_marks AS m (job, server, statement, kind, calls, query, changed_at)
VALUES ($1::text, $2::text, $3::text, $4::text, $5::bigint, $6::text, CASE WHEN NOT $7::boolean THEN clock_timestamp() END)
    ON CONFLICT (job, server, statement, kind) DO UPDATE SET calls = EXCLUDED.calls, changed_at = CASE WHEN m.calls = EXCLUDED.calls OR $7::boolean THEN m.changed_at ELSE clock_timestamp() END
RETURNING extract(epoch FROM clock_timestamp() - m.changed_at)`,
		Args: [][]byte{Text(job), Text(server), Text(statement), Text(kind), Int(calls), Text(query), strconv.AppendBool(nil, first)},
	}
}

// GateWaivers reads the waivers of a job that hold, the newest of each condition.
func GateWaivers(job string) Statement {
	return Statement{Name: "waivers", SQL: `SELECT DISTINCT ON (w.condition) w.condition, w.why, extract(epoch FROM w.until), w.who, extract(epoch FROM w.at)
  FROM pgbackfill.waivers AS w WHERE w.job = $1::text AND w.until > clock_timestamp() ORDER BY w.condition, w.id DESC`, Args: [][]byte{Text(job)}}
}

// GateWaive writes a waiver down.
func GateWaive(job, condition, why string, until time.Time, who string) Statement {
	return Statement{
		Name: "waive", SQL: `INSERT INTO pgbackfill.waivers (job, condition, why, until, who) VALUES ($1::text, $2::text, $3::text, to_timestamp($4::float8), $5::text)`,
		Args: [][]byte{Text(job), Text(condition), Text(why), seconds(float64(until.UnixMilli()) / 1000), Text(who)},
	}
}

// GateMoment is what everything after it is after: a snapshot and the time.
var GateMoment = Statement{Name: "moment", SQL: "SELECT pg_current_snapshot()::text, extract(epoch FROM clock_timestamp())"}

// GateRests is what a verdict rests on, before anything is looked at: the newest verification of a job that has ended,
// how many rows the ledger of its run has, what the tables are, the numbers of the columns that will be dropped, 0 of one that
// is not there, and what the functions are that the job calls. What comes while the conditions are looked at is after it too.
func GateRests(a GateAbout) Statement {
	return Statement{Name: "rests", SQL: `SELECT COALESCE((SELECT v.id FROM pgbackfill.verifications AS v WHERE v.job = $1::text AND v.state = 'ended' ORDER BY v.id DESC LIMIT 1)::text, ''),
       (SELECT count(*) FROM pgbackfill.chunks AS c WHERE c.run_id = $2::bigint)::text,
       pgbackfill.gate_shape($3::oid[] || $4::oid),
       COALESCE((SELECT array_agg(COALESCE(t.attnum, 0) ORDER BY d.no) FROM unnest($3::oid[], $5::name[]) WITH ORDINALITY AS d(relation, name, no)
                   LEFT JOIN pg_attribute AS t ON t.attrelid = d.relation AND t.attname = d.name AND t.attnum > 0 AND NOT t.attisdropped), '{}')::text,
       pgbackfill.called($6::text[])::text`, Args: [][]byte{Text(a.Job), Int(a.Run), a.dropped()[0], Int(int64(a.Table)), a.dropped()[1], TextArray(a.Names)}}
}

// GateRested is what [GateRests] answers, as the server writes it. Verification is "" where none has ended.
type GateRested struct{ Verification, LedgerRows, Shape, Attributes, Functions string }

// GateResult is what a gate came to, for [GateStore].
type GateResult struct {
	GateAbout
	Ready       bool
	Conditions  string
	Watched     bool
	WaivedUntil time.Time
	Snapshot    string
	Began       string
	// Rests is the answer of [GateRests].
	Rests     GateRested
	Who, Tool string
}

// GateStore writes down what a gate came to, with its digest.
func GateStore(r GateResult) Statement {
	verdict := "refused"
	if r.Ready {
		verdict = "ready"
	}
	var waived, run, verification []byte
	if !r.WaivedUntil.IsZero() {
		waived = seconds(float64(r.WaivedUntil.UnixMilli()) / 1000)
	}
	if r.Rests.Verification != "" {
		verification = Text(r.Rests.Verification)
	}
	if r.Run != 0 {
		run = Int(r.Run)
	}
	dropped := r.dropped()
	return Statement{
		Name: "gate", SQL: `WITH made AS (
  SELECT 0::bigint AS id, $1::text AS job, $2::bigint AS run_id, $3::text AS spec_hash, $4::oid AS table_oid, $5::oid[] AS relations, $6::text[] AS columns, $7::text AS verdict, $8::jsonb AS conditions,
         $16::bigint AS verification_id, $17::bigint AS ledger_rows, $18::text AS shape,
         $9::boolean AS watched, to_timestamp($10::float8) AS waived_until, make_interval(secs => $11::float8) AS report_max_age, $12::pg_snapshot AS snapshot, to_timestamp($13::float8) AS began_at,
         $19::text AS asked, $20::smallint[] AS attributes, $21::text[] AS names, $22::text[] AS functions
)
INSERT INTO pgbackfill.gates (job, run_id, spec_hash, table_oid, relations, columns, verdict, conditions, verification_id, ledger_rows, watched, shape, waived_until, report_max_age, snapshot, began_at, who, tool_version, asked, attributes, names, functions, digest)
SELECT m.job, m.run_id, m.spec_hash, m.table_oid, m.relations, m.columns, m.verdict, m.conditions, m.verification_id, m.ledger_rows, m.watched, m.shape, m.waived_until, m.report_max_age, m.snapshot, m.began_at, $14::text, $15::text, m.asked, m.attributes, m.names, m.functions,
       pgbackfill.gate_digest(ROW(m.id, m.job, m.run_id, m.spec_hash, m.table_oid, m.relations, m.columns, m.verdict, m.conditions, m.verification_id, m.ledger_rows, m.watched, m.shape, m.waived_until,
         m.report_max_age, m.snapshot, m.began_at, m.began_at, NULL, '', '', '', m.asked, m.attributes, m.names, m.functions)::pgbackfill.gates)
  FROM made AS m RETURNING id`,
		Args: [][]byte{
			Text(r.Job), run, Text(r.SpecHash), Int(int64(r.Table)), dropped[0], dropped[1], Text(verdict), Text(r.Conditions), strconv.AppendBool(nil, r.Watched),
			waived, seconds(r.MaxAge), Text(r.Snapshot), Text(r.Began), Text(r.Who), Text(r.Tool), verification, Text(r.Rests.LedgerRows), Text(r.Rests.Shape), Text(r.Asked),
			Text(r.Rests.Attributes), TextArray(r.Names), Text(r.Rests.Functions),
		},
	}
}
