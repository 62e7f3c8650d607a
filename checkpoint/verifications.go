package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/backfill/verify"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Verifications keeps verifications: it satisfies [verify.Record].
type Verifications struct {
	store *Store
	// values is set where values are kept as they are, and not their hashes.
	values bool
}

var _ verify.Record = Verifications{}

// Verifications is where verifications are kept. With values those of wrong rows are as they are, which may be secret;
// else the verification has hashed them.
func (s *Store) Verifications(values bool) Verifications { return Verifications{s, values} }

// Begin writes down that a verification begins, or that one which was interrupted goes on.
func (r Verifications) Begin(ctx context.Context, b verify.Beginning) (verify.Begun, error) {
	segments := make([]segmentRow, len(b.Segments))
	for i, p := range b.Segments {
		segments[i] = segmentRow{p.Check, p.No, p.Nulls, p.Range.After, p.Range.Through}
	}
	list, err := jsonParam(segments)
	if err != nil {
		return verify.Begun{}, err
	}
	var begun verify.Begun
	err = r.store.transact(ctx, settings, func(t *tx) error {
		begun = verify.Begun{} // of a try that failed
		if len(segments) > 0 && !b.Again {
			if begun, err = r.goOn(t, b); err != nil || begun.ID != 0 {
				return err
			}
		}
		if err := t.send(step{Statement: r.insert(b), read: one(&begun.ID)}); err != nil || len(segments) == 0 {
			return err
		}
		return t.send(step{Statement: pgsql.Statement{Name: "segments", SQL: insertProgress, Args: [][]byte{pgsql.Int(begun.ID), list}}})
	})
	if err != nil {
		return verify.Begun{}, fmt.Errorf("recording the verification: %w", translate(err))
	}
	return begun, nil
}

// segmentRow is a segment of a verification as it is sent.
type segmentRow struct {
	Check   int          `json:"check"`
	No      int          `json:"no"`
	Nulls   bool         `json:"nulls"`
	After   backfill.Key `json:"after"`
	Through backfill.Key `json:"through"`
}

// goOn takes an interrupted verification of the same; its number is 0 where there is none.
func (r Verifications) goOn(t *tx, b verify.Beginning) (verify.Begun, error) {
	var begun verify.Begun
	var process string
	var silent bool
	err := t.send(step{
		Statement: pgsql.Statement{Name: "interrupted", SQL: interrupted, Args: [][]byte{
			pgsql.Text(b.Job), pgsql.Text(b.ChecksHash), orNull(int64(b.Run)), ledgerRows(b), pgsql.Text(r.store.version),
		}},
		read: one(&begun.ID, &process, &silent, &begun.Since, &begun.Snapshot),
	})
	if err != nil || begun.ID == 0 || !silent && !r.store.gone(process) {
		return verify.Begun{}, err
	}
	return begun, t.send(
		step{Statement: pgsql.Statement{Name: "take", SQL: takeVerification, Args: [][]byte{pgsql.Int(begun.ID), pgsql.Text(r.store.process)}}},
		step{
			Statement: pgsql.Statement{Name: "segments", SQL: readProgress, Args: [][]byte{pgsql.Int(begun.ID)}},
			read: func(rows pgx.Rows) error {
				var p verify.Progress
				var counts []byte
				err := rows.Scan(&p.Check, &p.No, &p.Nulls, &p.Range.After, &p.Range.Through, &p.Watermark, &p.Done, &counts)
				p.Counts = counts
				begun.Segments = append(begun.Segments, p)
				return err
			},
		})
}

// gone reports whether a process of this machine, by the name that a store gives it, is no more.
func (s *Store) gone(process string) bool {
	parts := strings.Split(process, "/")
	if len(parts) != 3 || parts[0] != s.host || process == s.process {
		return false
	}
	pid, err := strconv.Atoi(parts[1])
	if err != nil || pid == s.pid { // it had our number, before us
		return err == nil
	}
	p, err := os.FindProcess(pid)
	return err != nil || errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone)
}

func orNull(n int64) []byte {
	if n == 0 {
		return nil
	}
	return pgsql.Int(n)
}

func (r Verifications) insert(b verify.Beginning) pgsql.Statement {
	optional := func(text string) []byte {
		if text == "" {
			return nil
		}
		return pgsql.Text(text)
	}
	var fraction []byte
	if b.Sample > 0 {
		fraction = floatParam(b.Sample)
	}
	return pgsql.Statement{Name: "verification", SQL: insertVerification, Args: [][]byte{
		pgsql.Text(b.Job), orNull(int64(b.Run)), pgsql.Text(b.SpecHash), pgsql.Text(b.ChecksHash), pgsql.Int(int64(b.TableOID)), pgsql.Text(b.Table),
		timeParam(b.From.At), optional(b.From.Snapshot), ledgerRows(b), pgsql.Int(b.RowsExpected),
		pgsql.Text(b.From.Server), strconv.AppendBool(nil, b.From.InRecovery), optional(b.From.LSN), pgsql.Text(b.From.Role),
		pgsql.Text(r.store.version), pgsql.Text(r.store.who), pgsql.Text(r.store.process), fraction, pgsql.Text(b.Asked), pgsql.TextArray(b.Names),
	}}
}

func ledgerRows(b verify.Beginning) []byte {
	if b.From.LedgerRows == nil {
		return nil
	}
	return pgsql.Int(*b.From.LedgerRows)
}

// Progress writes down how far segments were read.
func (r Verifications) Progress(ctx context.Context, id int64, list []verify.Progress, leaving bool) error {
	text, err := jsonParam(list)
	if err != nil {
		return err
	}
	steps := []step{{Statement: pgsql.Statement{Name: "beat", SQL: beatVerification, Args: [][]byte{
		pgsql.Int(id), pgsql.Text(r.store.process), strconv.AppendBool(nil, leaving),
	}}}}
	if len(list) > 0 {
		steps = append(steps, step{Statement: pgsql.Statement{Name: "progress", SQL: saveProgress, Args: [][]byte{pgsql.Int(id), pgsql.Text(r.store.process), text}}})
	}
	if err := r.store.transact(ctx, beatSettings, func(t *tx) error { return t.send(steps...) }); err != nil {
		return fmt.Errorf("recording how far verification %d is: %w", id, translate(err))
	}
	return nil
}

// mismatchRow is a mismatch as it is sent.
type mismatchRow struct {
	No int `json:"no"`
	verify.Mismatch
}

// End writes down what a verification came to, all of it or nothing.
func (r Verifications) End(ctx context.Context, v verify.Verdict, rows []verify.Mismatch) error {
	checks := make([]verify.CheckResult, len(v.Checks))
	for i, c := range v.Checks {
		checks[i] = c
		checks[i].Samples = nil
	}
	skipped := v.Unverifiable
	if skipped == nil {
		skipped = []verify.Unverifiable{}
	}
	list := make([]mismatchRow, len(rows))
	for i, m := range rows {
		list[i] = mismatchRow{i + 1, m}
	}
	var texts [5][]byte
	for i, what := range []any{skipped, checks, v.Classes(), list, v.Sample} {
		if what == (*verify.Sampled)(nil) {
			continue
		}
		var err error
		if texts[i], err = jsonParam(what); err != nil {
			return err
		}
	}
	var ended int64
	steps := []step{{Statement: pgsql.Statement{Name: "verdict", SQL: endVerification, Args: [][]byte{
		pgsql.Int(v.ID), pgsql.Text(string(v.Result)), pgsql.TextArray(orEmpty(v.Residual)), pgsql.TextArray(orEmpty(v.Incomplete)),
		pgsql.Int(v.Ranges), pgsql.Int(v.Rows()), pgsql.Int(v.UnverifiableRanges), texts[0], texts[1], pgsql.Int(v.Mismatches()), texts[2], pgsql.Text(r.store.process),
		pgsql.TextArray(orEmpty(v.Blinded)), texts[4],
	}}, read: one(&ended)}, {Statement: pgsql.Statement{Name: "segments", SQL: removeProgress, Args: [][]byte{pgsql.Int(v.ID)}}}}
	if len(rows) > 0 {
		steps = append(steps, step{Statement: pgsql.Statement{Name: "mismatches", SQL: insertMismatches, Args: [][]byte{
			pgsql.Int(v.ID), texts[3], strconv.AppendBool(nil, !r.values),
		}}})
	}
	err := r.store.transact(ctx, durableSettings, func(t *tx) error {
		ended = 0
		if err := t.send(steps[0]); err != nil {
			return err
		}
		if ended == 0 {
			return &backfill.Error{
				Place: fmt.Sprintf("verification %d", v.ID), Found: "another process has taken it over, or it is not there any more",
				Remedy: "what that one says is recorded", Kind: backfill.ErrChanged,
			}
		}
		return t.send(steps[1:]...)
	})
	if err != nil {
		return fmt.Errorf("recording the verdict: %w", translate(err))
	}
	return nil
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// VerificationInfo is a verification as the database knows it; see the comments of the table pgbackfill.verifications.
type VerificationInfo struct {
	ID       int64          `json:"id"`
	Job      string         `json:"job"`
	Run      backfill.RunID `json:"run,omitempty"`
	SpecHash string         `json:"spec_hash"`
	// State is reading, ended or abandoned; Result is "" until it has ended.
	State      string        `json:"state"`
	Result     verify.Result `json:"verdict,omitempty"`
	Residual   []string      `json:"residual,omitempty"`
	Incomplete []string      `json:"incomplete,omitempty"`
	StartedAt  time.Time     `json:"started_at"`
	ResumedAt  *time.Time    `json:"resumed_at,omitempty"`
	Resumed    int           `json:"resumed"`
	FinishedAt *time.Time    `json:"finished_at,omitempty"`
	// Snapshot is "" on a standby, LedgerRows nil where the ledger was not read.
	Snapshot      string          `json:"snapshot,omitempty"`
	LedgerRows    *int64          `json:"ledger_rows,omitempty"`
	Ranges        int64           `json:"ranges"`
	RowsExpected  int64           `json:"rows_expected"`
	RowsChecked   int64           `json:"rows_checked"`
	RangesSkipped int64           `json:"ranges_skipped"`
	Skipped       json.RawMessage `json:"skipped"`
	Checks        json.RawMessage `json:"checks"`
	Mismatches    int64           `json:"mismatches"`
	// Classes counts the mismatches by class.
	Classes map[verify.Class]int64 `json:"classes,omitempty"`
	// SampleFraction is nil where everything was read.
	SampleFraction *float64        `json:"sample_fraction,omitempty"`
	SampleBound    json.RawMessage `json:"sample_bound,omitempty"`
	Server         string          `json:"server"`
	InRecovery     bool            `json:"in_recovery"`
	LSN            string          `json:"lsn,omitempty"`
	Role           string          `json:"role"`
	Blinded        bool            `json:"blinded"`
	BlindedBy      []string        `json:"blinded_by,omitempty"`
	// VoidedAt is set where a repair changed rows: it is no proof any more.
	VoidedAt    *time.Time `json:"voided_at,omitempty"`
	VoidedBy    string     `json:"voided_by,omitempty"`
	ToolVersion string     `json:"tool_version"`
	Who         string     `json:"who"`
}

// VerificationsOf returns the verifications of a job, the oldest first.
func (s *Store) VerificationsOf(ctx context.Context, job string) ([]VerificationInfo, error) {
	return s.verifications(ctx, readVerifications, job)
}

// NewestVerification returns the newest verification of a job, in whatever state. The error is a [backfill.ErrNotFound]
// where there is none.
func (s *Store) NewestVerification(ctx context.Context, job string) (VerificationInfo, error) {
	list, err := s.verifications(ctx, newestVerification, job)
	if err != nil {
		return VerificationInfo{}, err
	}
	if len(list) == 0 {
		return VerificationInfo{}, &backfill.Error{
			Place: "job " + job, Found: "no verification of it is recorded", Remedy: "verify it with: pgbackfill verify FILE", Kind: backfill.ErrNotFound,
		}
	}
	return list[0], nil
}

func (s *Store) verifications(ctx context.Context, sql, job string) ([]VerificationInfo, error) {
	var list []VerificationInfo
	err := s.transact(ctx, settings, func(t *tx) error {
		list = nil // of a try that failed
		return t.send(step{
			Statement: pgsql.Statement{Name: "verifications", SQL: sql, Args: [][]byte{pgsql.Text(job)}},
			read: func(rows pgx.Rows) error {
				v, err := scanVerification(rows)
				list = append(list, v)
				return err
			},
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reading the verifications of %s: %w", job, translate(err))
	}
	return list, nil
}

func scanVerification(rows pgx.Rows) (VerificationInfo, error) {
	var v VerificationInfo
	var skipped, checks, classes, bound []byte
	err := rows.Scan(&v.ID, &v.Job, &v.Run, &v.SpecHash, &v.State, &v.Result, &v.Residual, &v.Incomplete,
		&v.StartedAt, &v.ResumedAt, &v.Resumed, &v.FinishedAt, &v.Snapshot, &v.LedgerRows, &v.Ranges, &v.RowsExpected,
		&v.RowsChecked, &v.RangesSkipped, &skipped, &checks, &v.Mismatches, &classes, &v.SampleFraction, &bound, &v.Server,
		&v.InRecovery, &v.LSN, &v.Role, &v.Blinded, &v.BlindedBy, &v.VoidedAt, &v.VoidedBy, &v.ToolVersion, &v.Who)
	if err != nil {
		return v, err
	}
	v.Skipped, v.Checks, v.SampleBound = skipped, checks, bound
	if err := json.Unmarshal(classes, &v.Classes); err != nil {
		return v, fmt.Errorf("verification %d: its classes are not readable: %w", v.ID, err)
	}
	return v, nil
}

// MismatchesOf returns the rows that a verification named, after the number after, at most most of them.
func (s *Store) MismatchesOf(ctx context.Context, id int64, after, most int) ([]RecordedMismatch, error) {
	var list []RecordedMismatch
	err := s.transact(ctx, settings, func(t *tx) error {
		list = nil // of a try that failed
		return t.send(step{
			Statement: pgsql.Statement{Name: "mismatches", SQL: readMismatches, Args: [][]byte{pgsql.Int(id), pgsql.Int(after), pgsql.Int(most)}},
			read: func(rows pgx.Rows) error {
				var m RecordedMismatch
				err := rows.Scan(&m.No, &m.Check, &m.Kind, &m.Class, &m.Confidence, &m.Evidence, &m.Key, &m.Rows, &m.Columns, &m.Hashed, &m.Expected, &m.Actual, &m.Version)
				list = append(list, m)
				return err
			},
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reading the mismatches of verification %d: %w", id, translate(err))
	}
	return list, nil
}

// RecordedMismatch is a row that a verification named.
type RecordedMismatch struct {
	No int `json:"no"`
	verify.Mismatch
	// Hashed is set where Expected and Actual are hashes of values.
	Hashed bool `json:"hashed"`
}
