package verify

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Record keeps verifications where others can look them up. Package checkpoint has the real one.
type Record interface {
	// Begin writes down that a verification begins. Where one of the same was interrupted, it is that one, which goes on.
	Begin(ctx context.Context, b Beginning) (Begun, error)
	// Progress writes down how far segments were read, and that somebody is at work on it; with leaving, that nobody is
	// any more.
	Progress(ctx context.Context, id int64, list []Progress, leaving bool) error
	// End writes down what it came to, and the rows that are not as they should be.
	End(ctx context.Context, v Verdict, rows []Mismatch) error
}

// Beginning is what is known of a verification before the first row is read.
type Beginning struct {
	Job, SpecHash string
	// ChecksHash tells verifications apart that ask something else, or something else of the table.
	ChecksHash string
	// Asked is the hash of the list of checks, and of which databases they ask: see [backfill.Job.ChecksHash].
	Asked string
	// Names are the words of the job's text, among which those of the functions are that it calls: see [backfill.Job.Names].
	Names []string
	// Run is the newest run of the job; 0 where none is known.
	Run      backfill.RunID
	TableOID uint32
	Table    string
	From     Standpoint
	// RowsExpected is how many rows the table is estimated to have.
	RowsExpected int64
	// Segments are those that will be read; none where it cannot be gone on with when it is interrupted.
	Segments []Progress
	// Again begins anew, also where there is one to go on with.
	Again bool
	// Sample is the part of the rows that is looked at; 0 is all.
	Sample float64
}

// Begun is a verification that has begun.
type Begun struct {
	// ID is the number it is known by.
	ID int64
	// Since is when it began, where it is one that was interrupted, Snapshot what was visible then, and Segments how far that
	// one came; none is a new one.
	Since    time.Time
	Snapshot string
	Segments []Progress
}

// Standpoint says where a verification reads, as what role, and as of when it began.
type Standpoint struct {
	// At is the server's clock before the first row was read.
	At     time.Time `json:"at"`
	Role   string    `json:"role"`
	Server string    `json:"server"`
	// InRecovery is set on a standby. LSN is how far the log was written then, or replayed.
	InRecovery bool   `json:"in_recovery"`
	LSN        string `json:"lsn,omitempty"`
	// Snapshot is what was visible then; on a standby what at least was, and "" where that is not known.
	Snapshot string `json:"snapshot,omitempty"`
	// LedgerRows is how many rows the ledger of the run had then; nil where there is no run, or it could not be read.
	LedgerRows *int64 `json:"ledger_rows,omitempty"`
}

// recordedMost is how many rows that are not as they should be are written down with a verification.
const recordedMost = 10_000

// look finds out where the verification reads, before it reads a row.
func (v *verification) look(ctx context.Context) error {
	s := newSession(v.Options)
	defer s.close(ctx)
	read := func(ledger bool) error {
		return s.keys(ctx, func(r *reading) error {
			rows, err := r.ask(ctx, pgsql.Standpoint)
			if err != nil {
				return err
			}
			if v.from, err = standpoint(rows); err != nil || !ledger {
				return err
			}
			if rows, err = r.ask(ctx, pgsql.LedgerRows(v.Run.ID)); err != nil {
				return err
			}
			var n int64
			v.from.LedgerRows = &n
			return integers(rows, &n)
		})
	}
	err := read(v.Run != nil)
	defer func() {
		if v.from.InRecovery {
			v.from.Snapshot = v.Shown
		}
	}()
	var server *pgconn.PgError
	if errors.As(err, &server) && (server.Code == "42501" || server.Code == "42P01" || server.Code == "3F000") {
		err = read(false) // who may read the table need not see the ledger
	}
	return err
}

func standpoint(rows [][]*string) (Standpoint, error) {
	if len(rows) != 1 || len(rows[0]) != 6 {
		return Standpoint{}, fmt.Errorf("unexpected answer from the server: %d rows", len(rows))
	}
	text := func(i int) string {
		if rows[0][i] == nil {
			return ""
		}
		return *rows[0][i]
	}
	at, err := time.Parse(time.RFC3339Nano, text(0))
	return Standpoint{At: at, Role: text(1), Server: text(2), InRecovery: text(3) == "t", LSN: text(4), Snapshot: text(5)}, err
}

// begin writes down that it begins, and returns what there is to read. That it cannot be written down is said with the
// verdict, and keeps nobody from reading.
func (v *verification) begin(ctx context.Context) ([]piece, error) {
	pieces := v.pieces()
	if v.Record == nil {
		v.unrecorded = v.NotRecorded
		return pieces, nil
	}
	b := Beginning{
		Job: v.Plan.Job.Name, SpecHash: v.Plan.Job.Hash(), Run: v.run(), TableOID: v.Plan.Table.OID,
		Table: v.Plan.Table.Schema + "." + v.Plan.Table.Name, From: v.from, RowsExpected: v.Plan.EstimatedRows, Again: v.Again, Sample: v.Sample,
		Names: v.Plan.Job.Names(),
	}
	var err error
	if b.Asked, err = v.asked(ctx); err != nil {
		return nil, err
	}
	if b.ChecksHash, err = v.hash(b.Asked); err != nil {
		return nil, err
	}
	for _, p := range pieces {
		if !v.resumable() {
			break
		}
		s, err := p.progress()
		if err != nil {
			return nil, err
		}
		b.Segments = append(b.Segments, s)
	}
	begun, err := v.Record.Begin(ctx, b)
	if err != nil {
		v.unrecorded, v.Record = err.Error(), nil
		return pieces, ctx.Err()
	}
	v.id = begun.ID
	if len(begun.Segments) == 0 {
		return pieces, nil
	}
	v.from.At, v.from.Snapshot = begun.Since, begun.Snapshot
	return v.goOn(begun.Segments)
}

// again is what to do after an interruption.
func (v *verification) again() string {
	if v.Record != nil && v.id != 0 && v.resumable() {
		return "start it again: it goes on where it was"
	}
	return "start it again, from the beginning"
}

// hash is of all that decides what the verification says of a row.
func (v *verification) hash(asked string) (string, error) {
	type check struct {
		Name, Kind, Residual string
		History, Unread      bool
	}
	what := struct {
		Spec, SearchPath, Role string
		Asked                  string
		Run                    backfill.RunID
		Fingerprint            map[string]string
		Key                    []pgsql.KeyColumn
		Standby                bool
		Server                 string
		Checks                 []check
		Outside                *ScopeCounts `json:",omitempty"`
	}{
		Spec: v.Plan.Job.Hash(), SearchPath: v.Plan.SearchPath, Role: v.from.Role, Run: v.run(), Fingerprint: v.Plan.Fingerprint,
		Asked: asked, Key: v.Plan.Key, Standby: v.from.InRecovery, Server: v.from.Server,
	}
	for _, c := range v.checks {
		what.Checks = append(what.Checks, check{c.Name, string(c.Kind), c.Residual, c.history != nil, c.unread})
		if c.result.Scope != nil {
			what.Outside = &ScopeCounts{Dropped: c.result.Scope.Dropped, Replaced: c.result.Scope.Replaced}
		}
	}
	text, err := json.Marshal(what)
	if err != nil {
		return "", fmt.Errorf("describing the checks: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// asked is the hash of the list of checks that are asked, and of which databases.
func (v *verification) asked(ctx context.Context) (string, error) {
	var job backfill.Job
	for _, c := range v.checks {
		if c.Kind != KindDerived {
			job.Verify = append(job.Verify, c.spec)
		}
	}
	databases, err := job.WhichDatabases(ctx, v.Databases)
	return job.ChecksHash(databases), err
}

// end writes down the verdict, with rows by their values' hashes unless values are asked for.
func (v *verification) end(ctx context.Context, out *Verdict) {
	out.NotRecorded = v.unrecorded
	if v.Record == nil {
		return
	}
	out.ID = v.id
	var rows []Mismatch
	for _, c := range v.checks {
		for _, m := range c.found() {
			m.Check = c.Name
			rows = append(rows, m)
		}
	}
	if !v.ShowValues {
		hashed(rows)
	}
	if err := v.Record.End(ctx, *out, rows[:min(len(rows), recordedMost)]); err != nil {
		out.NotRecorded = err.Error()
	}
}

// hashed puts hashes in the place of values. Their key is nobody's: it is only told which values are the same.
func hashed(rows []Mismatch) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	hide := func(values []*string) []*string {
		list := make([]*string, len(values))
		for i, text := range values {
			if text == nil {
				continue
			}
			sum := hmac.New(sha256.New, key)
			sum.Write([]byte(*text))
			hash := hex.EncodeToString(sum.Sum(nil)[:12])
			list[i] = &hash
		}
		return list
	}
	for i := range rows {
		if rows[i].Expected != nil {
			rows[i].Expected = hide(rows[i].Expected)
		}
		if rows[i].Actual != nil {
			rows[i].Actual = hide(rows[i].Actual)
		}
	}
}
