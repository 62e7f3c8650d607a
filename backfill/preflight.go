package backfill

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/pgbackfill/pgbackfill/internal/catalog"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// check is one thing that preflight looks for.
type check struct {
	id       string
	severity Severity
	look     func(*planning) *noticed
}

// noticed is what a check found: the words of a [Finding].
type noticed struct{ title, evidence, remedy string }

// preflight is everything that is looked for, the gravest first.
var preflight = []check{
	{"schema-missing", SeverityError, (*planning).schemaMissing},
	{"schema-published", SeverityError, (*planning).schemaPublished},
	{"no-monitor", SeverityError, (*planning).noMonitor},
	{"column-contested", SeverityError, (*planning).columnContested},
	{"foreign-partition", SeverityError, (*planning).foreignPartition},
	{"dual-write-owner", SeverityError, (*planning).dualWriteOwner},
	{"tripwire-owner", SeverityWarning, (*planning).tripwireOwner},
	{"tripwire-impossible", SeverityWarning, (*planning).tripwireImpossible},
	{"resolved-later", SeverityNote, (*planning).resolvedLater},
	{"no-index", SeverityError, (*planning).noIndex},
	{"undo-triggers", SeverityError, (*planning).undoTriggers},
	{"undo-cascades", SeverityError, (*planning).undoCascades},
	{"undo-published", SeverityError, (*planning).undoPublished},
	{"undo-partial", SeverityError, (*planning).undoPartial},
	{"undo-whole-walk", SeverityWarning, (*planning).undoWholeWalk},
	{"wraparound", SeverityWarning, (*planning).wraparound},
	{"seq-scan", SeverityWarning, (*planning).seqScan},
	{"seq-scan-join", SeverityWarning, (*planning).seqScanJoin},
	{"join-may-multiply", SeverityWarning, (*planning).joinMayMultiply},
	{"undo-overwrites", SeverityWarning, (*planning).undoOverwrites},
	{"not-idempotent", SeverityWarning, (*planning).notIdempotent},
	{"volatile-expression", SeverityWarning, (*planning).volatileExpression},
	{"dual-write-order", SeverityWarning, (*planning).dualWriteOrder},
	{"trigger-fires", SeverityWarning, (*planning).triggerFires},
	{"rewrite-rule", SeverityWarning, (*planning).rewriteRule},
	{"referenced-cascade", SeverityWarning, (*planning).referencedCascade},
	{"partition-key-written", SeverityWarning, (*planning).partitionKeyWritten},
	{"inheritance-children", SeverityWarning, (*planning).inheritanceChildren},
	{"unlogged-table", SeverityWarning, (*planning).unloggedTable},
	{"invalid-index", SeverityWarning, (*planning).invalidIndex},
	{"autovacuum-off", SeverityWarning, (*planning).autovacuumOff},
	{"old-transaction", SeverityWarning, (*planning).oldTransactions},
	{"prepared-transaction", SeverityWarning, (*planning).preparedTransactions},
	{"replica-lag", SeverityWarning, (*planning).replicaLag},
	{"standby-queries", SeverityWarning, (*planning).standbyQueries},
	{"slot-retains", SeverityWarning, (*planning).slotRetains},
	{"archive-behind", SeverityWarning, (*planning).archiveBehind},
	{"read-only-default", SeverityWarning, (*planning).readOnlyDefault},
	{"index-on-written", SeverityNote, (*planning).indexOnWritten},
	{"foreign-key-written", SeverityNote, (*planning).foreignKeyWritten},
	{"constraint-not-valid", SeverityNote, (*planning).constraintNotValid},
	{"reads-tables", SeverityNote, (*planning).readsTables},
	{"sources-change", SeverityNote, (*planning).sourcesChange},
	{"dual-write-trigger", SeverityNote, (*planning).dualWriteTrigger},
	{"dual-write-sources", SeverityNote, (*planning).dualWriteSources},
	{"tripwire", SeverityNote, (*planning).tripwireSet},
	{"published", SeverityNote, (*planning).published},
	{"replica-identity-full", SeverityNote, (*planning).replicaIdentityFull},
	{"replicas", SeverityNote, (*planning).replicas},
	{"estimate-off", SeverityNote, (*planning).estimateOff},
	{"disk-growth", SeverityNote, (*planning).diskGrowth},
	{"pooler", SeverityNote, (*planning).pooler},
	{"unmonitored", SeverityNote, (*planning).unmonitored},
	{"sessions-unlimited", SeverityNote, (*planning).sessionsUnlimited},
	{"undo-cost", SeverityNote, (*planning).undoCost},
	{finishQuarantined, SeverityNote, (*planning).finishWaits},
	{"undo-unsaid", SeverityNote, (*planning).undoUnsaid},
	{"backup-not-attested", SeverityNote, (*planning).backupNotAttested},
}

// FindingIDs are the ids that findings can have: what can be accepted.
func FindingIDs() []string {
	ids := make([]string, len(preflight))
	for i, c := range preflight {
		ids[i] = c.id
	}
	return ids
}

// look makes the plan's findings.
func (pl *planning) look(context.Context) error {
	for _, c := range preflight {
		if pl.blank && !aboutServer[c.id] {
			continue
		}
		if n := c.look(pl); n != nil {
			pl.plan.Findings = append(pl.plan.Findings, Finding{ID: c.id, Severity: c.severity, Title: n.title, Evidence: n.evidence, Remedy: n.remedy})
		}
	}
	return nil
}

// aboutServer are the findings that need no table.
var aboutServer = map[string]bool{
	"schema-missing": true, "schema-published": true, "resolved-later": true, "replica-lag": true, "slot-retains": true, "archive-behind": true,
	"read-only-default": true, finishQuarantined: true, "replicas": true, "pooler": true, "no-monitor": true, "unmonitored": true, "sessions-unlimited": true, "backup-not-attested": true,
}

func (pl *planning) schemaMissing() *noticed {
	s := pl.plan.Server
	if pl.activity.Schema || s.MayCreate {
		return nil
	}
	return &noticed{
		"the schema pgbackfill is not installed, and this role may not create it",
		fmt.Sprintf("role %s has no CREATE on database %s", s.Role, s.Database),
		fmt.Sprintf("let a role that may run what is printed by: pgbackfill schema sql --runner %s; or as the database's owner: GRANT CREATE ON DATABASE %s TO %s",
			s.Role, pgsql.Ident(s.Database), pgsql.Ident(s.Role)),
	}
}

func (pl *planning) schemaPublished() *noticed {
	if pl.activity.Schema || len(pl.activity.AllTables) == 0 {
		return nil
	}
	return &noticed{
		"a publication of all tables would publish the engine's own tables, and stop a subscriber that lacks them",
		"publication " + strings.Join(pl.activity.AllTables, ", ") + " is FOR ALL TABLES",
		"run what  pgbackfill schema sql  prints on the subscriber first, or publish named tables or schemas instead; then --accept schema-published",
	}
}

func (pl *planning) foreignPartition() *noticed {
	t := &pl.plan.Table
	if len(t.Foreign) == 0 {
		return nil
	}
	return &noticed{
		"rows of foreign tables belong to the walk, and no transaction here covers them",
		some(t.Foreign) + " under " + t.Quoted,
		"walk the local partitions, one job each, and the foreign ones on their own server",
	}
}

func (pl *planning) noIndex() *noticed {
	if pl.key.Index != nil || pl.plan.Heap != nil || pl.plan.Job.Prepare != nil && pl.tolerant() { // prepare may build one
		return nil
	}
	return &noticed{
		"no index serves the walk: every chunk reads the whole table",
		fmt.Sprintf("%s; the table has %d pages", pl.key.NoIndex, pl.plan.Table.CurrentPages),
		pl.createIndex() + "; or --accept no-index, where the table is small",
	}
}

// seqScanPages is how large a table may be for reading all of it for a chunk to be no matter.
const seqScanPages = 500

func (pl *planning) seqScan() *noticed {
	t := &pl.plan.Table
	if pl.key.Index == nil || t.CurrentPages < seqScanPages || len(pl.plan.Segments) == 0 {
		return nil
	}
	for _, statement := range []string{"boundary", "lock", "update"} {
		for _, n := range pl.nodes[statement] {
			if n.Type == "Seq Scan" && n.of(t) {
				return &noticed{
					"the server would read the whole table for a chunk",
					fmt.Sprintf("a sequential scan of %s (%d pages) in the statement %s", n.name(), t.CurrentPages, statement),
					"ANALYZE " + t.Quoted + "; look at the statement's plan in  pgbackfill plan",
				}
			}
		}
	}
	return nil
}

// seqScanRows is how many rows of another table may be read for each chunk.
const seqScanRows = 50_000

func (pl *planning) seqScanJoin() *noticed {
	t := &pl.plan.Table
	for _, statement := range []string{"lock", "update"} {
		for _, n := range pl.nodes[statement] {
			if n.Type == "Seq Scan" && n.Rows > seqScanRows && !n.of(t) {
				return &noticed{
					"each chunk reads the whole of another table",
					fmt.Sprintf("a sequential scan of %s, about %.0f rows, in the statement %s", n.name(), n.Rows, statement),
					"make an index on the columns that join it, or narrow it with {{range}}",
				}
			}
		}
	}
	return nil
}

// name is the relation of a node, without quotes.
func (n planNode) name() string { return bare(n.Schema + "." + n.Relation) }

// of reports whether a node reads the table or one below it.
func (n planNode) of(t *catalog.Table) bool {
	return slices.ContainsFunc(slices.Concat([]string{t.Quoted}, t.Partitions, t.Children), func(name string) bool { return bare(name) == n.name() })
}

// bare is a name without its quotes, which the server sets only where they are needed.
func bare(name string) string { return strings.ReplaceAll(name, `"`, "") }

func (pl *planning) joinMayMultiply() *noticed {
	if pl.other == nil || pl.joinIsUnique() {
		return nil
	}
	return &noticed{
		"a row may be met by the join more than once, and which of the values it gets is then chance",
		fmt.Sprintf("no unique index of %s is over the columns that join mentions (%s)", pl.other.Quoted, strings.Join(pl.joinedColumns(), ", ")),
		"join on a unique key, or choose one row: from: LATERAL (SELECT … ORDER BY … LIMIT 1) x",
	}
}

func (pl *planning) notIdempotent() *noticed {
	if pl.plan.Job.Idempotent || pl.plan.Job.TakesBack() { // that which assigns each row once is right as it is
		return nil
	}
	return &noticed{
		"the job is not idempotent: each row is changed exactly once only if its key stays as it is while the run goes on",
		"idempotent: false; key " + pl.keyNames() + "; there is no closing sweep, so rows that commit behind the walk stay as they are",
		"make sure that nothing updates the key; rows inserted meanwhile are changed too where the walk and its tail meet them: leave those out with where: that the application writes as they should be",
	}
}

func (pl *planning) volatileExpression() *noticed {
	var names []string
	for _, f := range pl.functions {
		if f.Volatility == "volatile" {
			names = append(names, f.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return &noticed{
		"an expression may give another value each time it is evaluated",
		"volatile: " + some(names),
		"no row is ever unchanged, and no verification can compute the value again: use an expression of the row alone; or where: for the rows that have no value, and verify: for what must hold",
	}
}

// sourcesChange is about rows that are as they were and whose values have changed: the closing
// sweep looks at rows of the walked table that were written, and not at what they are made of.
func (pl *planning) sourcesChange() *noticed {
	if !pl.plan.LockFirst && !pl.transformReadsOthers() || !pl.plan.Job.Idempotent {
		return nil
	}
	return &noticed{
		"new values come from more than the row itself: what is committed there once a row was walked does not reach it",
		"from:, a subquery, or a function that reads tables; the closing sweep looks at rows of the table that were written meanwhile",
		"have the application bring changes of the other tables over while the run goes on, or run the job --again afterwards",
	}
}

func (pl *planning) readsTables() *noticed {
	list := pl.readers()
	if len(list) == 0 || pl.plan.Job.Transform != nil && !pl.plan.LockFirst {
		return nil
	}
	names := make([]string, len(list))
	for i, f := range list {
		names[i] = f.Name + " is " + f.Volatility
	}
	return &noticed{
		"a function may read tables, so the rows of a chunk are locked before it is called",
		some(names),
		"declare it IMMUTABLE if it depends on its arguments alone: the walk is faster then",
	}
}

func (pl *planning) indexOnWritten() *noticed {
	var names []string
	for _, x := range pl.plan.Table.Indexes {
		if x.Method == "brin" && pl.plan.Server.Version >= 160000 {
			continue // summarizing indexes do not stand in the way of HOT
		}
		if x.Touches(pl.written()) {
			names = append(names, x.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return &noticed{
		"a written column is indexed: no update is heap-only, and every index gets a new entry for every row",
		some(names),
		"if the index is only for the new column, create it after the backfill",
	}
}

func (pl *planning) written() []string {
	var names []string
	for _, a := range pl.plan.Job.targets() {
		names = append(names, a.Column)
	}
	return names
}

func (pl *planning) keyNames() string {
	names := make([]string, len(pl.plan.Key))
	for i, k := range pl.plan.Key {
		names[i] = k.Name
	}
	return "(" + strings.Join(names, ", ") + ")"
}

// estimateFactor is how far the server's guess of a chunk may be off, and estimateShare which part of the table it
// may be off by in any case: a chunk is finer than a histogram.
const (
	estimateFactor = 10
	estimateShare  = 0.02
)

func (pl *planning) estimateOff() *noticed {
	if pl.probed < 100 || pl.plan.Table.CurrentPages < seqScanPages {
		return nil
	}
	nodes := pl.nodes["count"]
	if len(nodes) < 2 {
		return nil
	}
	guess := nodes[1].Rows
	rows := float64(pl.probed)
	if guess*estimateFactor >= rows && guess <= estimateFactor*rows || math.Abs(guess-rows) <= estimateShare*float64(pl.plan.EstimatedRows) {
		return nil
	}
	return &noticed{
		"statistics are off: the server may choose a bad plan for a chunk",
		fmt.Sprintf("a range of %d rows is thought to hold %.0f", pl.probed, guess),
		"ANALYZE " + pl.plan.Table.Quoted,
	}
}

// some joins the first few of many names.
func some(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
}
