package checkpoint

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// grant is what a role needs of some tables of the schema, as SQL has it: "SELECT, INSERT", "runs, segments".
type grant struct{ privileges, tables string }

// runnerGrants are what it takes to run jobs without owning the schema.
var runnerGrants = []grant{
	{"SELECT", "migrations"},
	{"SELECT, INSERT, UPDATE", "runs"},
	{"SELECT, INSERT", "segments, chunks, events"},
	{"SELECT, INSERT, UPDATE", "quarantine"},
	{"SELECT, INSERT, UPDATE, DELETE", "processes"},
	{"SELECT, INSERT, UPDATE", "undos, undo_tables"},
	{"SELECT, INSERT", "undo_chunks"},
	{"SELECT, INSERT, DELETE", "undo_left"},
	{"SELECT", "dual_writes, dual_write_errors, tripwires, drift"},
	{"SELECT, INSERT, UPDATE", "tasks"},
	{"SELECT, INSERT, UPDATE", "verifications, repairs"},
	{"SELECT, INSERT, UPDATE, DELETE", "verification_segments"},
	{"SELECT, INSERT", "mismatches"},
	{"SELECT, INSERT", "gates, waivers"},
	{"SELECT, INSERT, UPDATE", "statement_looks, statement_marks"},
}

// verifierGrants are what it takes to verify what runs have done, and to have that recorded; what the job reads is granted apart.
var verifierGrants = []grant{
	{"SELECT", strings.Join(tables, ", ")},
	{"INSERT, UPDATE", "verifications"},
	{"INSERT, UPDATE, DELETE", "verification_segments"},
	{"INSERT", "mismatches"},
}

// viewerGrants are what it takes to see all that is recorded, and to ask the gate, which writes down what it came to.
var viewerGrants = []grant{
	{"SELECT", strings.Join(tables, ", ")},
	{"INSERT", "gates"},
	{"INSERT, UPDATE", "statement_looks, statement_marks"},
}

// installerGrants are what it takes to install triggers.
var installerGrants = []grant{
	{"SELECT", "migrations"},
	{"SELECT, INSERT, UPDATE, DELETE", "dual_writes"},
	{"SELECT, INSERT, DELETE", "dual_write_errors"},
	{"SELECT, INSERT, UPDATE, DELETE", "tripwires"},
	{"SELECT, INSERT, DELETE", "drift"},
}

// to is the statement that gives it; role is quoted.
func (g grant) to(role string) string {
	return "GRANT " + g.privileges + " ON pgbackfill." + strings.ReplaceAll(g.tables, ", ", ", pgbackfill.") + " TO " + role
}

func grantsTo(role, schema string, list []grant) string {
	text := "GRANT " + schema + " ON SCHEMA pgbackfill TO " + role + ";\n"
	for _, g := range list {
		text += g.to(role) + ";\n"
	}
	return text
}

// Grants is the SQL that lets a role run jobs without owning the schema. What the job itself
// reads and writes is granted apart.
func Grants(runner string) string {
	role := pgsql.Ident(runner)
	return grantsTo(role, "USAGE", runnerGrants) +
		"-- What the throttle looks at: replicas, and others' transactions.\n" +
		"GRANT pg_monitor TO " + role + ";\n" +
		"-- For jobs with helpers, whose tables are made in the schema: GRANT CREATE ON SCHEMA pgbackfill TO " + role + ";\n"
}

// VerifierGrants is the SQL that lets a role verify, and have it recorded: it changes no row of the job's tables, of which it needs SELECT.
func VerifierGrants(verifier string) string {
	role := pgsql.Ident(verifier)
	return grantsTo(role, "USAGE", verifierGrants) +
		"-- What the throttle looks at: replicas, and others' transactions.\n" +
		"GRANT pg_monitor TO " + role + ";\n" +
		"-- What the job reads: GRANT SELECT ON … TO " + role + ";\n"
}

// ViewerGrants is the SQL that lets a role run status, report and gate, and nothing that steers or changes anything. What a gate
// says is relied on by assert_ready, so that who may ask it is trusted with the answer.
func ViewerGrants(viewer string) string {
	role := pgsql.Ident(viewer)
	return grantsTo(role, "USAGE", viewerGrants) +
		"-- What the gate looks at: others' transactions and statements, and replicas. The answer is written down, and assert_ready relies on it.\n" +
		"GRANT pg_monitor TO " + role + ";\n"
}

// InstallerGrants is the SQL that lets a role, which must own the tables, install triggers there. Their functions run with
// its rights.
func InstallerGrants(installer string) string {
	return grantsTo(pgsql.Ident(installer), "USAGE, CREATE", installerGrants)
}

// Access is what a role may do with the schema.
type Access struct {
	// Owner is the role that it belongs to, "" where it is not there; Owns is set where the role has that one's rights.
	Owner string `json:"owner,omitempty"`
	Owns  bool   `json:"owns"`
	// Missing are the statements, without a semicolon, that give the role what it lacks in order to run jobs. Tables that
	// are not there are left out.
	Missing []string `json:"missing,omitempty"`
}

const readOwner = `SELECT CURRENT_USER::text, pg_get_userbyid(n.nspowner)::text, pg_has_role(n.nspowner, 'USAGE'), has_schema_privilege(n.oid, 'USAGE')
  FROM pg_namespace AS n WHERE n.nspname = 'pgbackfill'`

// readLacking is one row for each privilege of runnerGrants that the role has not.
var readLacking = func() string {
	var wanted []string
	for _, g := range runnerGrants {
		for table := range strings.SplitSeq(g.tables, ", ") {
			for privilege := range strings.SplitSeq(g.privileges, ", ") {
				wanted = append(wanted, fmt.Sprintf("('%s', '%s')", table, privilege))
			}
		}
	}
	return `SELECT c.relname::text, w.privilege
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'pgbackfill'
  JOIN (VALUES ` + strings.Join(wanted, ", ") + `) AS w(name, privilege) ON w.name = c.relname
 WHERE c.relkind = 'r' AND NOT has_table_privilege(c.oid, w.privilege)`
}()

// ReadAccess looks what this role may do with the schema. It needs no privilege, and the schema need not be there.
func ReadAccess(ctx context.Context, conn *pgx.Conn) (Access, error) {
	var a Access
	err := inside(ctx, conn, func(t *tx) error {
		var role string
		var usage bool
		lacking := map[string][]string{}
		err := t.send(
			step{Statement: pgsql.Statement{Name: "schema owner", SQL: readOwner}, read: one(&role, &a.Owner, &a.Owns, &usage)},
			step{Statement: pgsql.Statement{Name: "grants", SQL: readLacking}, read: func(rows pgx.Rows) error {
				var table, privilege string
				err := rows.Scan(&table, &privilege)
				lacking[table] = append(lacking[table], privilege)
				return err
			}},
		)
		if err != nil {
			return fmt.Errorf("looking what this role may do with the schema pgbackfill: %w", err)
		}
		if a.Owner == "" {
			return nil
		}
		quoted := pgsql.Ident(role)
		if !usage {
			a.Missing = append(a.Missing, "GRANT USAGE ON SCHEMA pgbackfill TO "+quoted)
		}
		for _, g := range missing(lacking) {
			a.Missing = append(a.Missing, g.to(quoted))
		}
		return nil
	})
	return a, err
}

// missing puts together what is lacking, tables of the same privileges in one statement, as Grants has them.
func missing(lacking map[string][]string) []grant {
	var list []grant
	for _, g := range runnerGrants {
		for table := range strings.SplitSeq(g.tables, ", ") {
			var privileges []string
			for privilege := range strings.SplitSeq(g.privileges, ", ") {
				if slices.Contains(lacking[table], privilege) {
					privileges = append(privileges, privilege)
				}
			}
			text := strings.Join(privileges, ", ")
			i := slices.IndexFunc(list, func(m grant) bool { return m.privileges == text })
			switch {
			case text == "":
			case i >= 0:
				list[i].tables += ", " + table
			default:
				list = append(list, grant{text, table})
			}
		}
	}
	return list
}
