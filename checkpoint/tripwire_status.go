package checkpoint

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Tripwire is what there is of a job's tripwire.
type Tripwire struct {
	Job   string         `json:"job"`
	State DualWriteState `json:"state"`
	// Complaints are what is not as it was installed. Interrupted are triggers that are as they were, and not the same ones
	// any more: each was switched off or made anew since, so that nobody knows what went by meanwhile.
	Complaints  []string `json:"complaints,omitempty"`
	Interrupted []string `json:"interrupted,omitempty"`
	// Table is the walked table, quoted; TableOID is 0 where nothing was recorded.
	Table    string `json:"table,omitempty"`
	TableOID uint32 `json:"table_oid,omitempty"`
	// SpecHash is the hash of the job that it was made for.
	SpecHash string   `json:"spec_hash,omitempty"`
	Watched  []string `json:"watched,omitempty"`
	// Elsewhere is set where a value comes from other tables too: what changes there it does not see. Residual is set where
	// the scope mentions what is written: only rows that are left to be filled are seen.
	Elsewhere bool `json:"elsewhere,omitempty"`
	Residual  bool `json:"residual,omitempty"`
	// Version counts how many times it was made.
	Version       int        `json:"version,omitempty"`
	InstalledAt   *time.Time `json:"installed_at,omitempty"`
	InstalledBy   string     `json:"installed_by,omitempty"`
	InstalledRole string     `json:"installed_role,omitempty"`
	ToolVersion   string     `json:"tool_version,omitempty"`
	// Earlier is set where an earlier version of the program made it, whose triggers a setting of the session passes by.
	Earlier bool `json:"earlier,omitempty"`
	// Triggers are those of each table, partitions included.
	Triggers []DualWriteTrigger `json:"triggers,omitempty"`
	// Writes is how many writes it looked at since it was installed.
	Writes int64 `json:"writes"`
	// Unwritten counts what it found since and could not write down: nobody knows what that was.
	Unwritten int64 `json:"unwritten,omitempty"`
	// Recorded is how many commits are in pgbackfill.drift, also those of before; Latest are the last ones.
	Recorded int64   `json:"drift"`
	Latest   []Drift `json:"latest_drift,omitempty"`

	statements, definition string
}

// Drift is a commit that left a row without its values.
type Drift struct {
	At        time.Time `json:"at"`
	Operation string    `json:"operation"`
	Key       []string  `json:"key"`
	// SQLState and Message are set where the tripwire could not tell.
	SQLState    string `json:"sqlstate,omitempty"`
	Message     string `json:"message,omitempty"`
	Application string `json:"application"`
	Role        string `json:"role"`
	// Client is the address that it came from; "" is the server's own.
	Client string `json:"client,omitempty"`
	// Query are the statements of the transaction that wrote what is watched.
	Query       string `json:"query"`
	Transaction string `json:"transaction"`
}

// ReadTripwire looks at a job's tripwire.
func ReadTripwire(ctx context.Context, conn *pgx.Conn, job string) (Tripwire, error) {
	var w Tripwire
	err := inside(ctx, conn, func(t *tx) (err error) {
		if _, err = look(t); err != nil {
			return err
		}
		if w, err = readTripwireStatus(t, job, 0); err != nil {
			return err
		}
		return t.send(step{Statement: pgsql.Statement{SQL: readDrift, Args: [][]byte{pgsql.Text(job)}}, read: func(rows pgx.Rows) error {
			var d Drift
			err := rows.Scan(&w.Recorded, &d.At, &d.Operation, &d.Key, &d.SQLState, &d.Message, &d.Application, &d.Role, &d.Client, &d.Query, &d.Transaction)
			w.Latest = append(w.Latest, d)
			return err
		}})
	})
	return w, translate(err)
}

// Watches reports whether it watches, as it was installed for this very job, without a break, and could write down all that it found.
func (w Tripwire) Watches(job backfill.Job) bool {
	return w.State == DualWriteInstalled && w.Version > 0 && w.SpecHash == job.Hash() && len(w.Interrupted) == 0 && w.Unwritten == 0 && !w.Earlier
}

// readTripwireStatus reads what is recorded of a job's tripwire and compares it with what is there. table is where it should
// be; 0 is where it was recorded.
func readTripwireStatus(t *tx, job string, table uint32) (Tripwire, error) {
	w := Tripwire{Job: job, State: DualWriteInstalled}
	about := tripwiring{surgery: surgery{job: job, tableOID: table}}
	err := t.send(step{Statement: pgsql.Statement{Name: "tripwire", SQL: readTripwire, Args: [][]byte{pgsql.Text(job)}}, read: one(
		&w.TableOID, &w.Table, &w.SpecHash, &w.statements, &w.Watched, &w.Elsewhere, &w.Residual, &w.Version, &w.definition,
		&w.InstalledAt, &w.InstalledBy, &w.InstalledRole, &w.ToolVersion, &w.Earlier)})
	if err != nil {
		return w, translate(err)
	}
	if w.Version > 0 {
		about.tableOID = w.TableOID
	}
	function, same, counted, mayRecord, definition := false, true, true, true, ""
	var calls []bool
	args := append(about.treeArgs(), pgsql.Text(job))
	err = t.send(
		step{Statement: pgsql.Statement{Name: "triggers", SQL: readTripwireTriggers, Args: args}, read: func(rows pgx.Rows) error {
			var g DualWriteTrigger
			var there, ours, recorded, untouched bool
			err := rows.Scan(&g.Table, &g.Trigger, &g.State, &there, &ours, &g.definition, &recorded, &untouched)
			if g.State = enabled[g.State]; !there {
				g.State = "missing"
			}
			if there && recorded && !untouched {
				w.Interrupted = append(w.Interrupted, g.Trigger+" on "+g.Table)
			}
			w.Triggers, calls = append(w.Triggers, g), append(calls, ours)
			return err
		}},
		step{
			Statement: pgsql.Statement{Name: "definition", SQL: readTripwireDefinition, Args: append(args, pgsql.Text(pgsql.TripwireSequence(job)), pgsql.Text(pgsql.TripwireUnwritten(job)))},
			read:      one(&function, &definition, &same, &w.Writes, &w.Unwritten, &counted, &mayRecord),
		})
	if err != nil {
		return w, translate(err)
	}
	if !same {
		w.Interrupted = append(w.Interrupted, "its function")
	}
	w.judge(function, definition, calls)
	if w.State == DualWriteInstalled && !counted && !w.Earlier {
		w.State, w.Complaints = DualWriteChanged, append(w.Complaints, "the count of what it could not write down is gone")
	}
	if w.State == DualWriteInstalled && !mayRecord {
		w.State, w.Complaints = DualWriteChanged, append(w.Complaints, fmt.Sprintf("role %s, with whose rights it runs, may not write to pgbackfill.drift any more", w.InstalledRole))
	}
	return w, nil
}

// judge says what is not as it was installed.
func (w *Tripwire) judge(function bool, definition string, calls []bool) {
	d := DualWrite{Triggers: w.Triggers, State: w.State, Version: w.Version, definition: w.definition}
	d.judge(function, definition, calls)
	w.State, w.Complaints, w.Triggers = d.State, d.Complaints, d.Triggers
	if w.State == DualWriteMissing {
		w.Interrupted = nil
	}
}
