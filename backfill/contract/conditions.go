package contract

import (
	"context"
	"slices"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// condition is one that is looked at.
type condition struct {
	id, title, remedy string
	look              func(*gate, context.Context) (answer, error)
}

// answer is what a condition found.
type answer struct {
	status   Status
	evidence []string
	sql      []string
}

// conditions are all of them, in the order of design/verify.md.
var conditions = []condition{
	{"coverage", "every segment's chunks cover the walk without a gap, and nothing is quarantined", "pgbackfill run FILE; of quarantined rows: pgbackfill retry-quarantined FILE", question(pgsql.GateCoverage, needsRun)},
	{"verified", "a clean verification of the whole table, begun after the last chunk and after the tripwire, and recent", "pgbackfill verify FILE", question(pgsql.GateVerified, needsRun, needsDatabases)},
	{"scope", "what is dropped is what the job computes from, and no row outside of its scope has the only copy there", "a job over the other rows too; or, where their values may go, waive it and say why", (*gate).scope},
	{"soak", "dual writes have been seen to be right for long enough, on enough writes", "where a service is named: have it write both columns; then wait. A table that is hardly written: min_writes: 1 in contract, or --waive soak --why TEXT --until DATE", question(pgsql.GateSoak)},
	{"tripwire", "the engine's triggers have been on all that time, as they were made", "pgbackfill tripwire install FILE, or of the dual-write trigger: pgbackfill dual-write install FILE; with --replace over what somebody changed or switched off; then verify again", (*gate).triggers},
	{"old-transactions", "no transaction is open that is older than the last chunk", "let them end; of prepared ones: COMMIT PREPARED or ROLLBACK PREPARED", question(pgsql.GateTransactions, needsRun)},
	{"dependencies", "nothing depends on what will be dropped", "change or drop what depends on it first", question(pgsql.GateDependencies, needsDrops)},
	{"dropped-silently", "nothing goes with it without a word", "make what is still needed anew without the column; waive the rest", question(pgsql.GateSilent, needsDrops)},
	{"functions", "no function's body mentions it", "change the functions, or waive", question(pgsql.GateFunctions, needsDrops)},
	{"references", "no foreign key, replica identity, partition key, grant or child table has it", "change them first", question(pgsql.GateReferences, needsDrops)},
	{"statements", "no statement has named it since the soak began, on any server that is read", "change the application; GRANT pg_read_all_stats and CREATE EXTENSION pg_stat_statements where it cannot be seen", (*gate).statements},
	{"constraints", "what replaces it is validated, and no index is invalid", "ALTER TABLE … VALIDATE CONSTRAINT …; REINDEX INDEX CONCURRENTLY …", question(pgsql.GateConstraints)},
	{"replication", "no publication or slot carries it", "change the subscribers first, then waive", question(pgsql.GateReplication, needsDrops)},
	{"standbys", "every standby shows the last row of the ledger", "wait for them, or remove those that are gone", (*gate).standbys},
	{"blinded", "whoever verified saw all rows and columns", "verify as a role that row security does not bind, and that may read every column", question(pgsql.GateBlinded)},
	{"way-back", "there is a way back: undo, and a recent backup", `undo: capture, or undo: {set: …}, in the job; contract: {backup: {sql: …}}, or --backup-at TIME`, (*gate).wayBack},
}

// IDs are those of all conditions, in order: what can be waived.
func IDs() []string {
	list := make([]string, len(conditions))
	for i, c := range conditions {
		list[i] = c.id
	}
	return list
}

// look looks at one condition.
func (g *gate) look(ctx context.Context, c condition) (Condition, error) {
	found, err := c.look(g, ctx)
	if err != nil {
		why, refused := unreadable(g.Conn, err)
		if !refused {
			return Condition{}, err
		}
		found.status, found.evidence = Unknown, append([]string{"it cannot be read: " + why}, found.evidence...)
	}
	out := Condition{ID: c.id, Title: c.title, Status: found.status, Evidence: found.evidence, SQL: found.sql}
	switch {
	case out.Status == Pass:
	case !slices.Contains(out.Evidence, NoDrops):
		out.Remedy = c.remedy
	case !g.told: // what to do is said once
		g.told = true
		out.Remedy = "say it in the job: contract: {drops: [table.column]}"
	}
	if out.Evidence == nil {
		out.Evidence = []string{}
	}
	if out.SQL == nil {
		out.SQL = []string{}
	}
	return out, nil
}

// needs is what a question is about; its answer is why it cannot be asked, "" is that it can.
type needs func(*gate) (Status, string)

func needsRun(g *gate) (Status, string) {
	if g.about.Run == 0 {
		return Fail, "the job was never run"
	}
	return Pass, ""
}

func needsDatabases(g *gate) (Status, string) { return Unknown, g.unknown }

// NoDrops is the evidence of a condition that cannot be looked at, since the job does not say what it is about.
const NoDrops = "the job does not say what will be dropped"

func needsDrops(g *gate) (Status, string) {
	switch {
	case len(g.undropped) > 0:
		return Unknown, g.undropped[0]
	case len(g.about.Columns) == 0:
		return Unknown, NoDrops
	}
	return Pass, ""
}

// question is a condition that is one question.
func question(ask func(pgsql.GateAbout) pgsql.Statement, needed ...needs) func(*gate, context.Context) (answer, error) {
	return func(g *gate, ctx context.Context) (answer, error) {
		for _, need := range needed {
			if status, why := need(g); why != "" {
				return answer{status: status, evidence: []string{why}}, nil
			}
		}
		s := ask(g.about)
		found := answer{status: Pass, sql: []string{s.Shown()}}
		rows, err := g.ask(ctx, s)
		if err != nil {
			return found, err
		}
		found.judge(rows)
		return found, nil
	}
}

// most is how many lines of evidence are kept of each kind.
const most = 20

// judge takes rows of a status and evidence in, the gravest first. What passes is only said where nothing else is.
func (a *answer) judge(rows [][]string) {
	lines := map[Status][]string{}
	for _, row := range rows {
		s := Status(row[0])
		if lines[s] = append(lines[s], row[1]); rank(s) > rank(a.status) {
			a.status = s
		}
	}
	for _, s := range []Status{Fail, Unknown, Pass} {
		if s == Pass && a.status != Pass {
			continue
		}
		list := lines[s]
		if len(list) > most {
			list = append(slices.Clone(list[:most]), "and more")
		}
		a.evidence = append(a.evidence, list...)
	}
}

// rank orders statuses by how grave they are.
func rank(s Status) int { return slices.Index([]Status{Pass, Unknown, Fail}, s) }
