package verify

import (
	"fmt"
	"slices"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/human"
	"github.com/pgbackfill/pgbackfill/internal/pgerr"
)

// verdict is what all of it came to.
func (v *verification) verdict() Verdict {
	out := Verdict{
		Job: v.Plan.Job.Name, Table: v.Plan.Table.Quoted, Run: v.Run, Result: Proven, From: v.from, RowsExpected: v.Plan.EstimatedRows,
		Unverifiable: v.unverifiable, UnverifiableRanges: v.unread, Started: v.started, Elapsed: time.Since(v.started),
	}
	hot := 0
	for _, c := range v.checks {
		found := c.found()
		c.result.Samples = slices.Clone(found[:min(len(found), v.Samples)])
		for i := range c.result.Samples {
			if !v.ShowValues {
				c.result.Samples[i].Expected, c.result.Samples[i].Actual = nil, nil
			}
		}
		c.result.Classes = c.classes()
		out.Checks = append(out.Checks, c.result)
		out.Ranges += c.result.Ranges
		if c.result.Ranges == 0 && !c.unread { // which leaves nothing to say that it passed
			out.Incomplete = append(out.Incomplete, c.Name+": no range of it was read")
		}
		if n := c.result.Hot; n > 0 {
			hot++
			out.Incomplete = append(out.Incomplete, fmt.Sprintf("%s: %s here and in %s did not stand still: not judged", c.Name, human.Plural(n, "row"), c.spec.In))
		}
		if c.Residual != "" {
			out.Residual = append(out.Residual, c.Name+": "+c.Residual)
		}
	}
	if v.sample != nil {
		out.Sample = sampled(v.Sample, out.Mismatches())
		out.Incomplete = append(out.Incomplete, out.Sample.String())
	}
	out.Blinded = v.blinded
	for _, what := range v.blinded {
		out.Incomplete = append(out.Incomplete, fmt.Sprintf("role %s may not see all: %s; %s", v.Plan.Server.Role, what, seeing))
	}
	if v.unread > 0 {
		out.Incomplete = append(out.Incomplete, human.Plural(v.unread, "range")+" could not be checked")
	}
	out.Incomplete = append(out.Incomplete, v.Run.incomplete()...)
	out.Notes = append(v.Run.notes(), v.notes()...)
	if v.Plan.Heap != nil {
		out.Notes = append(out.Notes, "the table has no key: it was read in physical order and as of one moment, which kept its dead rows from being cleaned up meanwhile")
	}
	switch {
	case out.Mismatches() > 0:
		out.Result = Mismatched
	case len(out.Incomplete) > 0:
		out.Result, out.Unresolved = Incomplete, len(out.Incomplete) == hot
	}
	return out
}

// seeing is what a role needs that may not see all.
const seeing = "grant what is missing; where it is row security, verify as a role with BYPASSRLS, since rows that a policy hides would be left out"

// Unseen is the verdict where the role may not see the table at all, or only a part of it: nothing was read.
func Unseen(job backfill.Job, err error) Verdict {
	what := pgerr.Describe(err)
	return Verdict{
		Job: job.Name, Table: job.Table.Name, Result: Incomplete, Blinded: []string{what},
		Incomplete: []string{"nothing was read: " + what}, Started: time.Now(), NotRecorded: "nothing was read",
	}
}

// TakenBack is the verdict where the newest run of the job was undone: there is nothing that its rows could be held against.
func TakenBack(job backfill.Job, run Run) Verdict {
	return Verdict{
		Job: job.Name, Table: job.Table.Name, Result: Incomplete, Run: &run, Started: time.Now(), NotRecorded: "nothing was read",
		Incomplete: []string{fmt.Sprintf("run %d was undone: nothing is to be verified until the job is run again", run.ID)},
	}
}

// notes are what checks have to say of mismatches.
func (v *verification) notes() []string {
	var list []string
	for _, c := range v.checks {
		if p, ok := c.proof.(*recomputeProof); ok && c.result.Mismatches() > 0 {
			list = append(list, p.note(c.Name))
		}
		if c.result.Since > 0 {
			list = append(list, fmt.Sprintf("%s: of the rows with wrong values %d hold what others wrote since the run: where they may, say in verify what must hold ({{before}} is the rows as they were)", c.Name, c.result.Since))
		}
		if job := v.Plan.Job; c.history != nil && (job.Where != nil && job.Where.Subquery || job.UpdateStep() != nil && job.UpdateStep().From != nil) {
			list = append(list, c.Name+": rows of other tables were read as they are now, and not as they were when the run read them")
		}
	}
	return list
}

// incomplete says why a table that is right may not stay so, or not be all.
func (r *Run) incomplete() []string {
	if r == nil {
		return nil
	}
	var list []string
	// In finishing every chunk is committed: a verification may come before or after the job's finish.
	switch {
	case r.Undoing:
		list = append(list, fmt.Sprintf("run %d is being taken back, which is not done: some rows are as before it; end it with pgbackfill undo", r.ID))
	case r.State.Over() || r.State == backfill.StateFinishing:
	case r.Interrupted:
		list = append(list, fmt.Sprintf("run %d is interrupted: it has not finished, and nobody is at work on it", r.ID))
	default:
		list = append(list, fmt.Sprintf("run %d is %s: it has not finished", r.ID, r.State))
	}
	if r.Quarantined > 0 {
		list = append(list, fmt.Sprintf("run %d could not change %s: in quarantine", r.ID, human.Plural(r.Quarantined, "row")))
	}
	return list
}

// notes say what is good to know of the run.
func (r *Run) notes() []string {
	switch {
	case r == nil:
		return []string{"no run of this job is known here: what was read is the table as it is"}
	case !r.Same:
		return []string{fmt.Sprintf("run %d was of another version of this job: what was read is held against the job as it is now", r.ID)}
	case r.State == backfill.StateCancelled || r.State == backfill.StateUndone:
		return []string{fmt.Sprintf("run %d is %s", r.ID, r.State)}
	}
	return nil
}
