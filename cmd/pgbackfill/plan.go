package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/configs"
	"github.com/pgbackfill/pgbackfill/internal/human"
)

func (a *app) planCommand() *cobra.Command {
	undo := false
	c := &cobra.Command{
		Use:   "plan FILE",
		Short: "Shows what run would do: statements, segments, estimates, findings",
		Long: `plan resolves the jobs of a file against the database, without a write, and prints every
statement that run will send, how the table is walked, what it will take by the statistics there
are, and what preflight noticed. The exit code is 2 where run would refuse, also because the job is not
what it was when its unfinished run began; of one whose run is over it plans the next, as run --again.

With --undo it prints what undo would send to take the newest run of each job back; of a job that
has not been run, what it would send after a run of the whole table.`,
		Args: args(1, 1, "one job file"),
		RunE: func(c *cobra.Command, given []string) error {
			list, err := a.read(given[0])
			if err != nil {
				return err
			}
			connect, err := a.connect()
			if err != nil {
				return err
			}
			a.lend = &lender{}
			defer a.lend.close(c.Context())
			var refusedBy error
			for _, job := range list {
				if undo {
					if err := a.showUndo(c.Context(), connect, job); err != nil {
						return err
					}
					continue
				}
				pace, notes := a.cfg.Resolve(job)
				for _, note := range notes {
					a.note("note", note)
				}
				planner, unknown := a.planner(c.Context(), connect, job, runOptions{})
				if unknown != nil { // by a role that may plan and not run
					a.note("warning", "whether the job has a run already cannot be told: "+unknown.Error())
				}
				plan, err := a.plan(c.Context(), connect, planner, job, pace)
				if err != nil {
					return err
				}
				if unknown == nil && refusedBy == nil {
					refusedBy = a.before(c.Context(), connect, plan, given[0])
				}
				if err := a.writePlan(plan); err != nil {
					return err
				}
				if blocking := plan.Blocking(); len(blocking) > 0 && refusedBy == nil {
					refusedBy = refused(plan, blocking)
				}
			}
			return refusedBy
		},
	}
	a.backupFlag(c)
	configs.RunFlags(c.Flags())
	c.Flags().BoolVar(&undo, "undo", false, "show what undo would do instead")
	return a.jsonFlag(c)
}

// refused is the error of a plan that run does not carry out.
func refused(plan *backfill.Plan, blocking []backfill.Finding) error {
	ids := make([]string, len(blocking))
	for i, f := range blocking {
		ids[i] = f.ID
	}
	return &backfill.Error{
		Place:  plan.Job.Origin,
		Found:  fmt.Sprintf("%s is not run: %s", plan.Job.Name, strings.Join(ids, ", ")),
		Remedy: "do what the findings above say, or accept one in writing with --accept ID", Kind: backfill.ErrInput,
	}
}

func (a *app) writePlan(plan *backfill.Plan) error {
	if a.output == "json" {
		enc := json.NewEncoder(a.out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(plan)
	}
	writePlanBrief(wrapping(a.out), plan)
	fmt.Fprintf(a.out, "\nSegments\n")
	for _, s := range plan.Segments {
		fmt.Fprintf(harmless{a.out}, "  %3d  %s: about %s\n", s.No, segmentText(plan, s), human.Plural(s.EstimatedRows, "row"))
	}
	for _, line := range afterWalk(plan) {
		fmt.Fprintf(harmless{a.out}, "  then %s\n", line)
	}
	fmt.Fprintf(a.out, "\nStatements\n")
	writeStatements(harmless{a.out}, plan.Statements)
	fmt.Fprintln(a.out)
	writeFindings(wrapping(a.out), plan.Findings)
	return nil
}

// writeStatements prints statements as they are sent; the engine's own tables have a section of their own.
func writeStatements(w io.Writer, list []backfill.PlannedStatement) {
	own := false
	for _, s := range list {
		if !own && strings.HasPrefix(s.Name, "store: ") {
			own = true
			fmt.Fprintf(w, "\nStatements on pgbackfill's own tables\n")
		}
		fmt.Fprintf(w, "\n  -- %s: %s\n%s;\n", s.Name, s.When, indent(s.SQL, "  "))
		if s.Explain != "" {
			fmt.Fprintf(w, "%s\n", indent(s.Explain, "  --   "))
		}
	}
}

// doing is what a job does to its table, in a word: a job of several kinds of step is not called by one of them.
func doing(job backfill.Job) string {
	word := ""
	for _, s := range job.Steps {
		is := "update"
		switch {
		case s.Delete:
			is = "delete"
		case s.Update == nil:
			is = "backfill"
		}
		if word != "" && word != is {
			return "backfill"
		}
		word = is
	}
	if word == "" { // a transform alone
		return "update"
	}
	return word
}

// writePlanBrief says in a few lines what a run would do.
func writePlanBrief(w io.Writer, plan *backfill.Plan) {
	table := plan.Table.Quoted
	if table == "" { // a helper that is not built
		table = "{{helper " + plan.Job.WalkHelper + "}}"
	}
	fmt.Fprintf(w, "%s: %s of %s on %s\n", plan.Job.Name, doing(plan.Job), table, plan.Server.Database)
	if plan.Job.Description != "" {
		fmt.Fprintf(w, "  %s\n", strings.TrimSpace(plan.Job.Description))
	}
	for i, c := range plan.Constants {
		title := "params"
		if i > 0 {
			title = ""
		}
		fmt.Fprintf(w, "  %-9s :%s = %s\n", title, c.Name, constantText(c))
	}
	if plan.Walk != "" {
		fmt.Fprintf(w, "  walk      by %s: %s\n", plan.Walk, plan.WalkReason)
	}
	if plan.Pending {
		before := "prepare"
		if plan.Job.Prepare == nil {
			before = "helpers"
		}
		fmt.Fprintf(w, "  segments  known after %s; %s, chunks of %s\n", before, human.Plural(int64(plan.Pace.Workers), "worker"), chunkSize(plan.Pace))
		about := "known after " + before
		if plan.Table.OID != 0 && plan.Table.Rows >= 0 {
			about = human.Plural(int64(plan.Table.Rows), "row") + " in the table now; the rest is " + about
		}
		fmt.Fprintf(w, "  about     %s\n", about)
		return
	}
	fmt.Fprintf(w, "  segments  %d, %s, chunks of %s\n", len(plan.Segments), human.Plural(int64(plan.Pace.Workers), "worker"), chunkSize(plan.Pace))
	for _, c := range plan.Choices {
		fmt.Fprintf(w, "  %-9s %s: %s\n", c.What, c.Is, c.Why)
	}
	fmt.Fprintf(w, "  about     %s, %s, %s, %s of write-ahead log\n",
		human.Plural(plan.EstimatedRows, "row"), human.Plural(plan.EstimatedChunks, "chunk"), human.Duration(plan.EstimatedTime), human.Bytes(plan.EstimatedWAL))
	if len(plan.Captures) > 0 {
		fmt.Fprintf(w, "  undo      what was there is kept, about %s, in pgbackfill.undo_…\n", human.Bytes(plan.EstimatedUndo))
	}
}

// mostWorkers is how many workers the operator's ceilings allow; 0 is any number.
func (a *app) mostWorkers() int {
	allowed, _ := a.cfg.Clamp(backfill.Pace{Workers: math.MaxInt32})
	return allowed.Workers % math.MaxInt32
}

// constantText is a parameter's value, for people.
func constantText(c backfill.Constant) string {
	switch {
	case c.Env != "":
		return fmt.Sprintf("a secret, %s, from the environment variable %s", c.Type, c.Env)
	case c.Value == nil:
		return "NULL, " + c.Type
	}
	return fmt.Sprintf("%q, %s", *c.Value, c.Type)
}

// afterWalk is what follows the segments of a plan.
func afterWalk(plan *backfill.Plan) []string {
	if plan.Heap != nil {
		lines := []string{"a look at the whole table in one snapshot, and closing sweeps as long as it finds a row: those that moved while they were walked"}
		if plan.Table.Partitioned {
			lines = append([]string{"the tail: partitions that have come meanwhile"}, lines...)
		}
		return lines
	}
	lines := []string{"the tail: rows above the last key, up to the greatest key of that moment"}
	if plan.Job.Idempotent {
		lines = append(lines, "the closing sweep: rows that were committed behind the walk")
	}
	return lines
}

// segmentText is the keys of a planned segment, or its pages, for people.
func segmentText(plan *backfill.Plan, s backfill.Segment) string {
	if plan.Heap == nil {
		return rangeText(s)
	}
	first, end := 0, 0
	for at, key := range map[*int]backfill.Key{&first: s.Range.After, &end: s.Range.Through} {
		if key != nil {
			_, _ = fmt.Sscanf(key[0], "(%d,", at) // the engine wrote it
		}
	}
	table := plan.Table.Quoted
	for _, l := range plan.Heap.Leaves {
		if l.OID == s.Leaf {
			table = l.Table
		}
	}
	return fmt.Sprintf("pages %s to %s of %s", human.Count(int64(first)), human.Count(int64(end-1)), table)
}

// rangeText is the keys of a segment, for people.
func rangeText(s backfill.Segment) string {
	from, to := "from the first key", "to the last"
	if s.Nulls {
		return "rows with a NULL in the key"
	}
	if s.Range.After != nil {
		from = "above " + s.Range.After.String()
	}
	if s.Range.Through != nil {
		to = "to " + s.Range.Through.String()
	}
	return from + " " + to
}

func chunkSize(p backfill.Pace) string {
	if p.ChunkRows > 0 {
		return human.Count(int64(p.ChunkRows)) + " rows"
	}
	return "about " + p.ChunkTarget.String()
}

// writeFindings prints what preflight noticed, the gravest first as they come.
func writeFindings(w io.Writer, findings []backfill.Finding) {
	for _, f := range findings {
		accepted := ""
		if f.Accepted != "" {
			accepted = ", accepted by " + f.Accepted
		}
		fmt.Fprintf(w, "%s [%s%s] %s\n", f.Severity, f.ID, accepted, f.Title)
		if f.Evidence != "" {
			fmt.Fprintln(w, indent(f.Evidence, "    "))
		}
		if f.Remedy != "" {
			fmt.Fprintln(w, indent("→ "+f.Remedy, "    "))
		}
	}
}

func indent(text, by string) string {
	return by + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n"+by)
}
