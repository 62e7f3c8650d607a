package checkpoint

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// DualWriteState is what a trigger is in.
type DualWriteState string

// The states of a job's trigger: as it was installed on all of its tables; on none; or not as it was installed.
const (
	DualWriteInstalled DualWriteState = "installed"
	DualWriteMissing   DualWriteState = "missing"
	DualWriteChanged   DualWriteState = "changed"
)

// DualWrite is what there is of a job's trigger.
type DualWrite struct {
	Job   string         `json:"job"`
	State DualWriteState `json:"state"`
	// Complaints are what is not as it was installed.
	Complaints []string `json:"complaints,omitempty"`
	// Table is the walked table, quoted; TableOID is 0 where nothing was recorded.
	Table    string `json:"table,omitempty"`
	TableOID uint32 `json:"table_oid,omitempty"`
	// SpecHash is the hash of the job that it was made for.
	SpecHash string   `json:"spec_hash,omitempty"`
	Written  []string `json:"written,omitempty"`
	Depends  []string `json:"depends,omitempty"`
	// Elsewhere is set where a value comes from other tables too: what changes there later the trigger does not see.
	Elsewhere bool `json:"elsewhere,omitempty"`
	// Version counts how many times it was made.
	Version       int        `json:"version,omitempty"`
	InstalledAt   *time.Time `json:"installed_at,omitempty"`
	InstalledBy   string     `json:"installed_by,omitempty"`
	InstalledRole string     `json:"installed_role,omitempty"`
	ToolVersion   string     `json:"tool_version,omitempty"`
	// Triggers are those of each table, partitions included.
	Triggers []DualWriteTrigger `json:"triggers,omitempty"`
	// Later are BEFORE triggers that fire after ours, which does not see what they change.
	Later []string `json:"later,omitempty"`
	// Errors counts the rows that could not be computed, as far as they are kept; Latest are the last ones.
	Errors int64            `json:"errors"`
	Latest []DualWriteError `json:"latest_errors,omitempty"`

	statements, definition string
}

// DualWriteTrigger is one trigger of one table.
type DualWriteTrigger struct {
	Table   string `json:"table"`
	Trigger string `json:"trigger"`
	// State is "enabled", "missing", "disabled", "not always" (session_replication_role passes it by) or "changed".
	State string `json:"state"`

	definition string
}

// DualWriteError is a row that could not be computed.
type DualWriteError struct {
	At          time.Time `json:"at"`
	Operation   string    `json:"operation"`
	Key         []string  `json:"key"`
	SQLState    string    `json:"sqlstate"`
	Message     string    `json:"message"`
	Application string    `json:"application"`
	Role        string    `json:"role"`
}

// ReadDualWrite looks at a job's trigger.
func ReadDualWrite(ctx context.Context, conn *pgx.Conn, job string) (DualWrite, error) {
	var d DualWrite
	err := inside(ctx, conn, func(t *tx) (err error) {
		if _, err = look(t); err != nil {
			return err
		}
		if d, err = readStatus(t, job, 0); err != nil {
			return err
		}
		w := dualWriting{surgery: surgery{job: job, tableOID: d.TableOID}}
		return t.send(
			step{Statement: pgsql.Statement{SQL: readDualWriteErrors, Args: [][]byte{pgsql.Text(job)}}, read: func(rows pgx.Rows) error {
				var e DualWriteError
				err := rows.Scan(&d.Errors, &e.At, &e.Operation, &e.Key, &e.SQLState, &e.Message, &e.Application, &e.Role)
				d.Latest = append(d.Latest, e)
				return err
			}},
			step{Statement: pgsql.Statement{SQL: laterTriggers, Args: w.treeArgs()[:3]}, read: func(rows pgx.Rows) error {
				var name string
				err := rows.Scan(&name)
				d.Later = append(d.Later, name)
				return err
			}})
	})
	return d, translate(err)
}

// recorded is d where it was recorded, else nil.
func (d *DualWrite) recorded() *DualWrite {
	if d.Version == 0 {
		return nil
	}
	return d
}

// readStatus reads what is recorded of a job's trigger and compares it with what is there. table is where it should be;
// 0 is where it was recorded.
func readStatus(t *tx, job string, table uint32) (DualWrite, error) {
	d := DualWrite{Job: job, State: DualWriteInstalled}
	w := dualWriting{surgery: surgery{job: job, tableOID: table}}
	err := t.send(step{Statement: pgsql.Statement{Name: "dual write", SQL: readDualWrite, Args: [][]byte{pgsql.Text(job)}}, read: one(
		&d.TableOID, &d.Table, &d.SpecHash, &d.statements, &d.Written, &d.Depends, &d.Elsewhere, &d.Version, &d.definition,
		&d.InstalledAt, &d.InstalledBy, &d.InstalledRole, &d.ToolVersion)})
	if err != nil {
		return d, translate(err)
	}
	if d.Version > 0 {
		w.tableOID = d.TableOID
	}
	function, definition := false, ""
	var calls []bool
	err = t.send(
		step{Statement: pgsql.Statement{Name: "triggers", SQL: readDualWriteTriggers, Args: w.treeArgs()}, read: func(rows pgx.Rows) error {
			var g DualWriteTrigger
			var there, ours bool
			err := rows.Scan(&g.Table, &g.Trigger, &g.State, &there, &ours, &g.definition)
			if g.State = enabled[g.State]; !there {
				g.State = "missing"
			}
			d.Triggers, calls = append(d.Triggers, g), append(calls, ours)
			return err
		}},
		step{Statement: pgsql.Statement{Name: "definition", SQL: readDualWriteDefinition, Args: w.treeArgs()}, read: one(&function, &definition)})
	if err != nil {
		return d, err
	}
	d.judge(function, definition, calls)
	return d, nil
}

// enabled are the states that pg_trigger.tgenabled stands for.
var enabled = map[string]string{"A": "enabled", "O": "not always", "R": "not always", "D": "disabled"}

// judge says what is not as it was installed.
func (d *DualWrite) judge(function bool, definition string, calls []bool) {
	missing := 0
	for i := range d.Triggers {
		g := &d.Triggers[i]
		if g.State == "enabled" && (!calls[i] || g.definition != d.Triggers[i%2].definition) {
			g.State = "changed"
		}
		if g.State == "missing" {
			missing++
		}
		if g.State != "enabled" {
			d.Complaints = append(d.Complaints, fmt.Sprintf("%s on %s is %s", g.Trigger, g.Table, g.State))
		}
	}
	switch {
	case missing == len(d.Triggers) && (!function || d.Version == 0):
		d.State, d.Complaints = DualWriteMissing, nil
		return
	case !function:
		d.Complaints = append(d.Complaints, "its function is missing")
	case d.Version == 0:
		d.Complaints = append(d.Complaints, "it is there, and not recorded")
	case definition != d.definition && len(d.Complaints) == 0:
		d.Complaints = append(d.Complaints, "its definition is another one")
	}
	if len(d.Complaints) > 0 {
		d.State = DualWriteChanged
	}
}
