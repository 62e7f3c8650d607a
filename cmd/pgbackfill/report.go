package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/backfill/contract"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/internal/human"
	"github.com/pgbackfill/pgbackfill/internal/report"
)

// reportForms are what a report can be printed as, by the name that -o has for them.
var reportForms = map[string]func(report.Report) ([]byte, error){
	"json":     report.Report.JSON,
	"html":     report.Report.HTML,
	"markdown": func(r report.Report) ([]byte, error) { return r.Markdown(), nil },
	"junit":    report.Report.JUnit,
}

func (a *app) reportCommand() *cobra.Command {
	form, to, from, schema := "", "", "", false
	c := &cobra.Command{
		Use:   "report JOB",
		Short: "Prints what is known of a job: its run, its verification, what the gate said",
		Long: `report prints what the database knows of a job: the newest run and its course, the newest
verification, what the gate said when it was asked last, with a verdict first.

-o json is the source: it has a published schema (--schema) and a hash. The other forms are made of
it, also later and without a database: report --from report.json -o html.`,
		Args: args(0, 1, "one job"),
		RunE: func(c *cobra.Command, given []string) error {
			if form == "" {
				form = formOf(to)
			}
			render, known := reportForms[form]
			switch {
			case schema:
				return a.deliver(to, report.Schema)
			case !known:
				return fmt.Errorf("%w: -o %s; expected json, html, markdown or junit", errUsage, form)
			case (from == "") == (len(given) == 0):
				return fmt.Errorf("%w: report takes one job, or --from a report that was kept\n  → see: pgbackfill report --help", errUsage)
			}
			r, err := a.reported(c.Context(), from, given)
			if err != nil {
				return err
			}
			text, err := render(r)
			if err != nil {
				return err
			}
			return a.deliver(to, text)
		},
	}
	c.Flags().StringVarP(&form, "output", "o", "", "json, html, markdown or junit (default: by the name of --to, else markdown)")
	c.Flags().StringVar(&to, "to", "", "write it to this file")
	c.Flags().StringVar(&from, "from", "", "render a report.json that was kept, and ask no database")
	c.Flags().BoolVar(&schema, "schema", false, "print the JSON Schema of -o json")
	return c
}

// formOf is the form that a file's name asks for.
func formOf(path string) string {
	switch filepath.Ext(path) {
	case ".json":
		return "json"
	case ".html", ".htm":
		return "html"
	case ".xml":
		return "junit"
	}
	return "markdown"
}

// deliver writes a text where it was asked for. A file is whole or not there.
func (a *app) deliver(path string, text []byte) error {
	if path == "" {
		_, err := a.out.Write(text)
		return err
	}
	part := path + ".part"
	err := os.WriteFile(part, text, 0o644)
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		return &backfill.Error{Place: path, Found: err.Error(), Expected: "a file that can be written", Kind: backfill.ErrInput}
	}
	return nil
}

// reported is the report of a job, or one that was kept.
func (a *app) reported(ctx context.Context, from string, given []string) (report.Report, error) {
	if from != "" {
		text, err := os.ReadFile(from)
		if err != nil {
			return report.Report{}, &backfill.Error{Place: from, Found: err.Error(), Expected: "a report", Kind: backfill.ErrInput}
		}
		r, err := report.Read(text)
		if err != nil {
			return r, &backfill.Error{Place: from, Found: err.Error(), Expected: "what `report -o json` wrote", Kind: backfill.ErrInput}
		}
		return r, nil
	}
	var r report.Report
	err := a.stored(ctx, func(s *checkpoint.Store) (err error) {
		r, err = a.assemble(ctx, s, given[0])
		return err
	})
	if err != nil {
		return r, neverRun(given[0], err)
	}
	return r.Sealed()
}

// assemble gathers what the database knows of a job.
func (a *app) assemble(ctx context.Context, s *checkpoint.Store, job string) (report.Report, error) {
	server, err := s.Server(ctx)
	if err != nil {
		return report.Report{}, err
	}
	r := report.Report{
		Made: server.At.UTC(), Tool: a.version,
		Server: report.Server{
			Address: server.Address, Database: server.Database, Version: server.Version, Role: server.Role, LSN: server.LSN, InRecovery: server.InRecovery,
		},
	}
	info, err := s.Newest(ctx, job)
	if err != nil {
		return r, err
	}
	var spec backfill.Job
	if err := json.Unmarshal(info.Spec, &spec); err != nil {
		return r, fmt.Errorf("run %d: its spec is not readable: %w", info.ID, err)
	}
	r.Job = report.Job{Name: info.Job, Table: info.Table, SpecHash: info.SpecHash, Spec: info.Spec}
	r.Run = runPart(info)
	if err := seriesPart(ctx, s, info.ID, &r); err != nil {
		return r, err
	}
	events, err := s.Events(ctx, info.ID)
	if err != nil {
		return r, err
	}
	r.Events = eventsPart(events)
	r.Waits = waitsPart(r.Events, r.Made)
	waitedIn(&r.Series, r.Waits)
	if err := verificationPart(ctx, s, info, spec.Table, &r); err != nil {
		return r, err
	}
	if r.Gate, err = gatePart(ctx, s, info); err != nil {
		return r, err
	}
	err = a.connected(ctx, func(conn *pgx.Conn) (err error) {
		r.DualWrite, err = dualWritePart(ctx, conn, spec)
		return err
	})
	if err != nil {
		return r, err
	}
	ledger, err := s.LedgerRows(ctx, info.ID)
	if err != nil {
		return r, err
	}
	r.Verdict = verdictOf(r, ledger)
	return r, nil
}

// verdictOf says what it comes to: what is not known to be right is not said to be.
func verdictOf(r report.Report, ledger int64) report.Verdict {
	said := func(word report.Word, text string, more ...any) report.Verdict {
		return report.Verdict{Word: word, Text: fmt.Sprintf(text, more...)}
	}
	v := r.Verification
	if v != nil && v.Verdict == "mismatched" {
		return said(report.Mismatched, "%s not as they should be (verification %d)", human.Plural(v.Mismatches, "row"), v.ID)
	}
	asked := r.Gate != nil && !slices.ContainsFunc(r.Gate.Conditions, func(c report.Condition) bool { return c.Evidence == contract.NoDrops })
	if asked && r.Gate.Verdict != string(contract.Ready) { // of a job that drops nothing it can only refuse
		return said(report.Refused, "the gate refused at %s; see which of its conditions did not pass", r.Gate.At.UTC().Format(timeShown))
	}
	switch {
	case r.Run.Quarantine > 0:
		return said(report.Incomplete, "%s could not be changed and wait in quarantine", human.Plural(r.Run.Quarantine, "row"))
	case r.Run.TakenBack:
		return said(report.Unproven, "run %d is being taken back", r.Run.ID)
	case r.Run.State != string(backfill.StateFinished):
		return said(report.Unproven, "run %d is %s", r.Run.ID, r.Run.State)
	case v == nil:
		return said(report.Unproven, "run %d has finished, and nobody has verified what it did", r.Run.ID)
	case v.Voided != nil:
		return said(report.Unproven, "verification %d is void: a repair changed rows after it", v.ID)
	case v.Verdict != "proven":
		return said(report.Incomplete, "verification %d could not check everything", v.ID)
	case len(v.Residual) > 0:
		return said(report.Unproven, "verification %d shows only that nothing is left to do: %s", v.ID, strings.Join(v.Residual, "; "))
	case v.Sample != nil:
		return said(report.Unproven, "verification %d read a sample of %s only", v.ID, human.Percent(*v.Sample))
	case v.Ledger != ledger:
		return said(report.Unproven, "rows were changed after verification %d had begun", v.ID)
	}
	text := fmt.Sprintf("%s read, every one as it should be (verification %d)", human.Plural(v.Checked, "row"), v.ID)
	switch g := r.Gate; {
	case g == nil:
		text += "; the gate was not asked yet"
	case !asked:
		text += "; the job drops nothing that the gate could be asked about"
	case g.Asserted != nil:
		text += "; the contract migration ran at " + g.Asserted.Format(timeShown)
	default:
		text += "; the gate was ready at " + g.At.Format(timeShown)
	}
	return said(report.Proven, "%s", text)
}
