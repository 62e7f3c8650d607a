package report

import (
	"fmt"
	"strings"

	"github.com/pgbackfill/pgbackfill/internal/human"
)

// Markdown is the report in short, for a pull request or a chat: the verdict first.
func (r Report) Markdown() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**: %s\n\n# %s\n\n", r.Verdict.Word, cell(r.Verdict.Text), cell(r.Job.Name))
	if r.Job.Description != "" {
		fmt.Fprintf(&b, "%s\n\n", cell(r.Job.Description))
	}
	r.verificationMarkdown(&b)
	r.gateMarkdown(&b)
	if d := r.DualWrite; d != nil {
		fmt.Fprintf(&b, "## Dual writes\n\nBy %s; %s seen, %s of drift.\n\n", cell(d.By), human.Plural(d.Writes, "write"), human.Plural(d.DriftAll, "row"))
		for _, e := range d.Drift {
			fmt.Fprintf(&b, "- %s: key %s, by %s (%s): `%s`\n", at(e.At), cell(e.Key), cell(e.Application), cell(e.User), strings.ReplaceAll(cell(e.Query), "`", "'"))
		}
	}
	if run := r.Run; run != nil {
		fmt.Fprintf(&b, "## Run %d\n\n| | |\n|---|---|\n| state | %s |\n| walked | %s in %s |\n| changed | %s, %s of them by the closing sweep |\n",
			run.ID, cell(run.State), human.Plural(run.Seen, "row"), human.Plural(run.Chunks, "chunk"), human.Plural(run.Changed, "row"), human.Count(run.Swept))
		fmt.Fprintf(&b, "| quarantined | %s |\n| begun | %s |\n| finished | %s |\n\n", human.Plural(run.Quarantine, "row"), at(run.Started), at(run.Finished))
	}
	fmt.Fprintf(&b, "Table %s; PostgreSQL %s on %s, database %s; pgbackfill %s, %s.\nJob `%s`, report `%s`.\n", cell(r.Job.Table), cell(r.Server.Version),
		cell(r.Server.Address), cell(r.Server.Database), cell(r.Tool), at(r.Made), r.Job.SpecHash, r.SHA256)
	return []byte(b.String())
}

func (r Report) verificationMarkdown(b *strings.Builder) {
	v := r.Verification
	if v == nil {
		b.WriteString("## Verification\n\nNone is recorded: nothing was compared with what it should be.\n\n")
		return
	}
	fmt.Fprintf(b, "## Verification\n\n%s: %s in %s, read %s on %s.\n\n", v.Verdict, human.Plural(v.Checked, "row"), human.Plural(v.Ranges, "range"), at(v.Started), cell(v.Server))
	if v.Voided != nil {
		fmt.Fprintf(b, "- void: a repair changed rows at %s\n", at(v.Voided))
	}
	for _, l := range v.Residual {
		fmt.Fprintf(b, "- residual: %s\n", cell(l))
	}
	for _, l := range v.Incomplete {
		fmt.Fprintf(b, "- incomplete: %s\n", cell(l))
	}
	b.WriteString("\n| check | rows | missing | extra | different |\n|---|--:|--:|--:|--:|\n")
	for _, c := range v.Checks {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", cell(c.Name), human.Count(c.Rows), human.Count(c.Missing), human.Count(c.Extra), human.Count(c.Different))
	}
	b.WriteString("\n")
	if len(v.Classes) > 0 {
		b.WriteString("| wrong rows, by what is likely to have happened | rows |\n|---|--:|\n")
		for _, c := range classes(v.Classes) {
			fmt.Fprintf(b, "| %s | %s |\n", word(c.Name), human.Count(c.N))
		}
		b.WriteString("\n")
	}
}

func (r Report) gateMarkdown(b *strings.Builder) {
	if r.Gate == nil {
		b.WriteString("## Gate\n\nIt was not asked yet.\n\n")
		return
	}
	fmt.Fprintf(b, "## Gate\n\n%s, %s, asked by %s.\n\n| condition | status | evidence |\n|---|---|---|\n", cell(r.Gate.Verdict), at(r.Gate.At), cell(r.Gate.By))
	for _, c := range r.Gate.Conditions {
		evidence := c.Evidence
		if c.Waiver != "" {
			evidence += "; " + c.Waiver
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", cell(c.ID), c.Status, cell(evidence))
	}
	b.WriteString("\n")
}

// cell is text that stays within a cell and is no markup.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "\r", " ", "<", "&lt;", "*", `\*`, "_", `\_`).Replace(s)
}
