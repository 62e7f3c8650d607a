package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/human"
	"github.com/pgbackfill/pgbackfill/internal/progressui"
)

// diagnosisText is a diagnosis for people, as wide as so many cells; 0 is without an end. The first line is the answer.
func diagnosisText(d *diagnosis, width int) string {
	var b strings.Builder
	answer := "all is well"
	if n := int64(len(d.Remedies)); n == 1 {
		answer = "1 thing is in the way"
	} else if n > 1 {
		answer = human.Count(n) + " things are in the way"
	}
	fmt.Fprintf(&b, "%s on %s: %s\n", d.Server.Role, d.Server.Database, answer)
	say := func(word string, lines ...string) {
		for _, line := range lines {
			fmt.Fprintf(&b, "  %-9s %s\n", word, line)
			word = ""
		}
	}
	say("server", serverLine(d))
	say("role", roleLine(d))
	say("schema", "pgbackfill: "+d.Schema.Says)
	say("replicas", standbyLines(d)...)
	writeSignals(&b, d.Signals, nil, width)
	var above []signalHealth
	for _, j := range d.Jobs {
		writeJobHealth(&b, j)
		writeSignals(&b, j.Signals, above, width)
		above = append(above, j.Signals...)
	}
	if len(d.Remedies) == 0 {
		return b.String()
	}
	b.WriteString("\nWhat to do\n")
	for _, r := range d.Remedies {
		fmt.Fprintf(&b, "  %s\n", strings.ReplaceAll(r.Why, "\n", "\n  "))
		for _, sql := range r.SQL {
			fmt.Fprintf(&b, "    %s;\n", sql)
		}
		if r.Text != "" {
			b.WriteString(indent("→ "+r.Text, "    ") + "\n")
		}
	}
	return b.String()
}

func serverLine(d *diagnosis) string {
	line := fmt.Sprintf("PostgreSQL %s at %s", d.Server.VersionText(), d.Address)
	if d.Server.InRecovery {
		line += ", a standby"
	}
	if d.Pooler {
		return line + ", behind a connection pooler: its own timeouts can cut chunks short"
	}
	return line + ", no connection pooler seen"
}

// roleLine is what the role may see and do that belongs to no table.
func roleLine(d *diagnosis) string {
	s := d.Server
	if s.Superuser {
		return s.Role + ": a superuser, which may do everything"
	}
	can := func(yes bool, may, not string) string {
		if yes {
			return may
		}
		return not
	}
	parts := []string{
		can(s.Monitor, "sees what others do (pg_monitor)", "does not see what others do (pg_monitor)"),
		can(s.MayCreate, "may create schemas", "may not create schemas"),
	}
	if s.BypassRLS {
		parts = append(parts, "passes row security")
	}
	return s.Role + ": " + strings.Join(parts, ", ")
}

func standbyLines(d *diagnosis) []string {
	if len(d.Standbys) == 0 {
		return []string{"none is connected"}
	}
	lines := make([]string, len(d.Standbys))
	for i, s := range d.Standbys {
		lines[i] = s.Name + ": this role may not see how far it is"
		if s.Asked {
			lines[i] = s.Name + ": asked itself, see its signal below"
		}
		if s.State != "" {
			lines[i] = fmt.Sprintf("%s: %s, %s", s.Name, s.State, s.Sync)
			if s.LagBytes >= 0 {
				lines[i] += ", " + human.Bytes(s.LagBytes) + " behind"
			}
		}
	}
	return lines
}

// writeSignals prints one line a signal: its name, whether it works, and the evidence. Those that stand above already, as
// another job's, are not repeated.
func writeSignals(b *strings.Builder, list, above []signalHealth, width int) {
	said := func(s signalHealth) bool {
		return slices.ContainsFunc(above, func(other signalHealth) bool {
			return other.Name == s.Name && other.State == s.State && other.Shut == s.Shut && (s.State == signalWorks || other.Evidence == s.Evidence)
		})
	}
	shown := slices.DeleteFunc(slices.Clone(list), said)
	switch {
	case len(list) == 0:
		return
	case len(shown) == 0:
		b.WriteString("  signals as above\n")
		return
	case len(shown) < len(list):
		b.WriteString("\nSignals that are not as above\n")
	default:
		b.WriteString("\nSignals\n")
	}
	name, state := 0, 0
	for _, s := range shown {
		name, state = max(name, len(s.Name)), max(state, len(s.State))
	}
	for _, s := range shown {
		head := fmt.Sprintf("  %-*s  %-*s  ", name, s.Name, state, s.State)
		evidence := s.Evidence
		if room := width - len(head); room >= 20 {
			evidence = strings.ReplaceAll(progressui.Wrap(evidence, room), "\n", "\n"+strings.Repeat(" ", len(head)))
		}
		b.WriteString(head + evidence + "\n")
	}
}

func writeJobHealth(b *strings.Builder, j jobHealth) {
	fmt.Fprintf(b, "\n%s: ", j.Name)
	if j.Runs {
		b.WriteString("can be run\n")
	} else {
		b.WriteString("cannot be run: " + j.Error + "\n")
	}
	writeFindings(b, slices.DeleteFunc(slices.Clone(j.Findings), func(f backfill.Finding) bool { return slices.Contains(ofServer, f.ID) }))
}
