package backfill

import (
	"fmt"
	"strings"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// tripwireThere reports whether the job's tripwire is on the table.
func (pl *planning) tripwireThere() bool {
	insert, update := pgsql.TripwireTriggers(pl.plan.Job.Name)
	count := 0
	for _, t := range pl.plan.Table.Triggers {
		if ours(t) && t.Table == pl.plan.Table.Quoted && (t.Name == insert || t.Name == update) {
			count++
		}
	}
	return count == 2
}

// tripwireOwner is about a tripwire that is still to be installed, by a role that may not.
func (pl *planning) tripwireOwner() *noticed {
	p := pl.plan
	if p.Tripwire == nil || p.Table.MayAlter || pl.tripwireThere() {
		return nil
	}
	return &noticed{
		"the tripwire is not installed, and only the table's owner may do it: commits that break the relation go unnoticed",
		fmt.Sprintf("role %s is not %s, which owns %s", p.Server.Role, p.Table.Owner, p.Table.Quoted),
		"let the owner run:  pgbackfill tripwire install FILE;  or what is printed by:  pgbackfill tripwire install --print FILE;  or say dual_write: {tripwire: false}",
	}
}

// tripwireImpossible is about a job that no trigger can watch.
func (pl *planning) tripwireImpossible() *noticed {
	if len(pl.noTripwire) == 0 {
		return nil
	}
	return &noticed{
		"no tripwire can watch this job: verification tells what held when it passed, and not that it holds",
		strings.Join(pl.noTripwire, "; "),
		"write the job so that it is about one row of t; or say dual_write: {tripwire: false}",
	}
}

// tripwireSet says what the tripwire does to the application.
func (pl *planning) tripwireSet() *noticed {
	w := pl.plan.Tripwire
	if w == nil || !pl.plan.Table.MayAlter && !pl.tripwireThere() {
		return nil
	}
	state := "it is installed before the first chunk"
	if pl.tripwireThere() {
		state = "it is installed; where it is not what the job asks for now, it is replaced before the first chunk"
	}
	evidence := fmt.Sprintf("%s looks, when a transaction commits, at each row that it inserted, and at each of which it changed %s; %s; it never fails a transaction, and writes to pgbackfill.drift what is broken, by whom and with which statements",
		pgsql.TripwireFunction(w.Values.Job), strings.Join(w.Watched, ", "), state)
	if pl.readsElsewhere() {
		evidence += "; values come from other tables too, whose changes it does not see: the claim is that the relation held at the pass"
	}
	if w.Values.ScopeReadsSet {
		evidence += "; the scope mentions what is written, so that it only sees rows that are left to be filled"
	}
	return &noticed{
		"a tripwire records each commit that breaks the relation",
		evidence,
		"an application that says SET CONSTRAINTS ALL IMMEDIATE must write both columns in one statement; the contract migration removes it, by assert_ready, and so does: pgbackfill tripwire remove FILE",
	}
}
