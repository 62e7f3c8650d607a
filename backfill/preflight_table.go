package backfill

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/pgbackfill/pgbackfill/internal/catalog"
	"github.com/pgbackfill/pgbackfill/internal/human"
)

// firing are the triggers of others that the job's updates fire.
func (pl *planning) firing() []catalog.Trigger {
	var list []catalog.Trigger
	for _, t := range pl.plan.Table.Triggers {
		touched := len(t.Of) == 0 || slices.ContainsFunc(t.Of, func(c string) bool { return slices.Contains(pl.written(), c) })
		if t.Enabled && t.OnUpdate && touched && !ours(t) {
			list = append(list, t)
		}
	}
	return list
}

// moments are functions whose value is that of the moment, or of the connection, though the server does not call all of them volatile.
var moments = regexp.MustCompile(`(?i)\b(now|transaction_timestamp|statement_timestamp|age|current_setting|inet_\w+|txid_\w+|pg_\w+)\s*\(|\b(current_|localtime|session_user)`)

// readOverriding finds what may change the values of a walk in physical order on their way, or keep them back, where the values can be
// told again: from the row alone, and the same at any time.
func (pl *planning) readOverriding(context.Context) error {
	p := pl.plan
	p.Stirring = p.Heap != nil && slices.ContainsFunc(pl.firing(), func(t catalog.Trigger) bool { return !t.Before || t.ForEach != "row" })
	told := !p.LockFirst && !slices.ContainsFunc(pl.functions, func(f catalog.Function) bool {
		return f.Volatility == "volatile" || !f.BuiltIn && f.Volatility != "immutable"
	}) &&
		!slices.ContainsFunc(p.Job.exprs(), func(e Expr) bool { return moments.MatchString(e.SQL) })
	if p.Heap == nil || !told {
		return nil
	}
	_, deletes := p.Job.writesOf()
	for _, t := range p.Table.Triggers {
		if t.Enabled && t.Before && t.ForEach == "row" && !ours(t) && (deletes && t.OnDelete || !deletes && slices.ContainsFunc(pl.firing(), func(f catalog.Trigger) bool { return f.Name == t.Name && f.Table == t.Table })) {
			p.Overriding = append(p.Overriding, fmt.Sprintf("trigger %s on %s", t.Name, t.Table))
		}
	}
	for _, rule := range p.Table.Rules {
		p.Overriding = append(p.Overriding, "rule "+rule)
	}
	return nil
}

func (pl *planning) triggerFires() *noticed {
	list := pl.firing()
	if len(list) == 0 {
		return nil
	}
	remedy := "make sure that what they do is wanted a second time for old rows (an updated_at, a notification, a queue), and cheap"
	if slices.ContainsFunc(list, func(t catalog.Trigger) bool { return t.Before && t.ForEach == "row" }) {
		remedy += "; one before each row may also change what is written, or keep it back: "
		if len(pl.plan.Overriding) > 0 {
			remedy += "the walk compares every row at its end"
		} else {
			remedy += "the run does not see that, only pgbackfill verify does"
		}
	}
	names := make([]string, len(list))
	for i, t := range list {
		when := "after"
		if t.Before {
			when = "before"
		}
		names[i] = fmt.Sprintf("%s on %s (%s each %s, calls %s)", t.Name, t.Table, when, t.ForEach, t.Function)
	}
	return &noticed{
		"triggers fire for every row that is changed",
		some(names),
		remedy,
	}
}

func (pl *planning) rewriteRule() *noticed {
	t := &pl.plan.Table
	if len(t.Rules) == 0 {
		return nil
	}
	return &noticed{
		"rewrite rules change what an update of this table means",
		"rules " + some(t.Rules) + " on " + t.Quoted,
		"look at them: pgbackfill cannot tell what they make of its statements",
	}
}

func (pl *planning) referencedCascade() *noticed {
	var names []string
	for _, k := range pl.plan.Table.Constraints {
		if k.Kind == catalog.Referenced && k.Enforced && pl.writes(k.Columns) && k.OnUpdate != "no action" && k.OnUpdate != "restrict" {
			names = append(names, fmt.Sprintf("%s of %s, ON UPDATE %s", k.Name, k.Other, strings.ToUpper(k.OnUpdate)))
		}
	}
	if len(names) == 0 {
		return nil
	}
	return &noticed{
		"a written column is referenced by other tables, whose rows are changed along",
		some(names),
		"make sure that this is wanted, and that those tables have an index on the referencing columns",
	}
}

// writes reports whether the job writes one of the columns.
func (pl *planning) writes(columns []string) bool {
	return slices.ContainsFunc(pl.written(), func(c string) bool { return slices.Contains(columns, c) })
}

func (pl *planning) foreignKeyWritten() *noticed {
	var names []string
	for _, k := range pl.plan.Table.Constraints {
		if k.Kind == catalog.ForeignKey && k.Enforced && pl.writes(k.Columns) {
			names = append(names, fmt.Sprintf("%s (%s) to %s", k.Name, strings.Join(k.Columns, ", "), k.Other))
		}
	}
	if len(names) == 0 {
		return nil
	}
	return &noticed{
		"a written column refers to another table: each new value is looked up there, and its row locked against deletion",
		some(names),
		"expect it to be slower; a value that is not there stops the run",
	}
}

func (pl *planning) constraintNotValid() *noticed {
	var names []string
	for _, k := range pl.plan.Table.Constraints {
		if !k.Validated && k.Enforced && k.Kind != catalog.Referenced {
			names = append(names, k.Name+" "+k.Definition)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return &noticed{
		"a constraint is not validated: old rows that break it cannot be updated, not even in other columns",
		some(names),
		"see that the job mends such rows in the same update, or mend them first; afterwards ALTER TABLE … VALIDATE CONSTRAINT",
	}
}

func (pl *planning) partitionKeyWritten() *noticed {
	t := &pl.plan.Table
	if !pl.writes(t.PartitionKey) {
		return nil
	}
	return &noticed{
		"a column of the partition key is written: rows move between partitions",
		fmt.Sprintf("%s is partitioned by (%s)", t.Quoted, strings.Join(t.PartitionKey, ", ")),
		"a row that moves is deleted and inserted: triggers and replication see it so, and concurrent updates of it fail",
	}
}

func (pl *planning) inheritanceChildren() *noticed {
	t := &pl.plan.Table
	if len(t.Children) == 0 {
		return nil
	}
	return &noticed{
		"other tables inherit from this one, and their rows are walked and changed as well",
		some(t.Children),
		"make sure that they have the columns' meaning, and an index on the key " + pl.keyNames() + " each",
	}
}

func (pl *planning) unloggedTable() *noticed {
	t := &pl.plan.Table
	if !t.Unlogged {
		return nil
	}
	return &noticed{
		"the table is unlogged: a crash empties it, and the ledger will still say what was done",
		t.Quoted + " is UNLOGGED",
		"ALTER TABLE … SET LOGGED first, if the rows matter",
	}
}

func (pl *planning) invalidIndex() *noticed {
	var names []string
	for _, x := range pl.plan.Table.Indexes {
		if !x.Valid {
			names = append(names, x.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return &noticed{
		"an index is invalid: it costs every update, and serves no query",
		some(names),
		"DROP INDEX CONCURRENTLY it, and build it again",
	}
}

func (pl *planning) autovacuumOff() *noticed {
	t := &pl.plan.Table
	if pl.plan.Server.Autovacuum && len(t.AutovacuumOff) == 0 {
		return nil
	}
	evidence := "autovacuum = off on the server"
	if pl.plan.Server.Autovacuum {
		evidence = "autovacuum_enabled = off for " + some(t.AutovacuumOff)
	}
	return &noticed{
		"nothing removes the old row versions: the table doubles",
		evidence,
		"turn autovacuum on for the run, or VACUUM " + t.Quoted + " by hand between parts of it",
	}
}

func (pl *planning) wraparound() *noticed {
	t, s := &pl.plan.Table, pl.plan.Server
	if t.FrozenAge <= s.FreezeMaxAge {
		return nil
	}
	return &noticed{
		"the table is due for a vacuum against transaction id wraparound, which will compete with the run",
		fmt.Sprintf("its oldest row versions are %s transactions old; autovacuum_freeze_max_age is %s", human.Count(t.FrozenAge), human.Count(s.FreezeMaxAge)),
		"VACUUM (FREEZE) " + t.Quoted + " first",
	}
}

func (pl *planning) published() *noticed {
	t := &pl.plan.Table
	if len(t.Publications) == 0 {
		return nil
	}
	return &noticed{
		"every changed row is sent to the subscribers",
		"published by " + strings.Join(t.Publications, ", "),
		"watch their lag",
	}
}

func (pl *planning) replicaIdentityFull() *noticed {
	t := &pl.plan.Table
	if len(t.FullIdentity) == 0 {
		return nil
	}
	return &noticed{
		"the whole old row is logged for every row that is changed, and a subscriber may look for it by a scan",
		"REPLICA IDENTITY FULL on " + some(t.FullIdentity),
		"ALTER TABLE … REPLICA IDENTITY DEFAULT, if there is a primary key",
	}
}

// growthWorthAWord is how many bytes the table must be thought to grow by.
const growthWorthAWord = 1 << 30

func (pl *planning) diskGrowth() *noticed {
	growth := min(pl.scope, pl.plan.EstimatedRows) * (pl.rowWidth() + tupleHeader)
	if growth < growthWorthAWord {
		return nil
	}
	return &noticed{
		"the table may grow by about " + bytesText(growth) + ", and the write-ahead log by about " + bytesText(pl.plan.EstimatedWAL),
		"a guess from statistics; free space cannot be seen from here",
		"make sure that it is there, also where the log is archived and on the replicas",
	}
}

// tupleHeader is what a row takes on its page beside its columns, in bytes.
const tupleHeader = 28

func bytesText(n int64) string {
	f, i := float64(n), 0
	for ; f >= 1024 && i < 4; i++ {
		f /= 1024
	}
	return fmt.Sprintf("%.1f %s", f, []string{"B", "KiB", "MiB", "GiB", "TiB"}[i])
}
