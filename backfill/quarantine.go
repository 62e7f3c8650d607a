package backfill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/internal/human"
	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// QuarantinedRow is a key whose rows could not be changed, and why: its chunk is in the ledger, and its rows are done by
// nobody but [RetryQuarantined].
type QuarantinedRow struct {
	// ID numbers the entries of a database.
	ID int64 `json:"id"`
	// Segment and Seq are the chunk's.
	Segment int `json:"segment"`
	Seq     int `json:"seq"`
	// Key is nil for the rows with a NULL in the key, which are one chunk.
	Key Key `json:"key"`
	// Rows is how many rows have the key: 1 where it is unique.
	Rows int64 `json:"rows"`
	// Step is what failed: a step's name, "lock", or "commit" for what is checked then.
	Step string `json:"step"`
	// SQLState and Message are the server's; Detail too, and it may show the whole row: it is kept in
	// the database, beside the row itself, and printed nowhere.
	SQLState string `json:"sqlstate"`
	Message  string `json:"message"`
	Detail   string `json:"-"`
	// Attempts counts how often it was set aside, or tried again in vain: 1 at first.
	Attempts int `json:"attempts"`
	// At is when it was set aside, FailedAt when it failed last, ResolvedAt when it was done; nil is not yet.
	At         time.Time  `json:"at"`
	FailedAt   time.Time  `json:"failed_at"`
	ResolvedAt *time.Time `json:"resolved_at,omitempty"`
}

// Name is the key for people.
func (q QuarantinedRow) Name() string {
	if q.Key == nil {
		return "the rows with a NULL in the key"
	}
	return q.Key.String()
}

// Why is the error in one line.
func (q QuarantinedRow) Why() string {
	why := strings.Join(strings.Fields(q.Message), " ")
	if q.SQLState != "" {
		why = q.SQLState + ": " + why
	}
	if q.Step != "" {
		why = q.Step + ": " + why
	}
	return why
}

// Quarantine keeps aside the rows of a run that cannot be changed.
type Quarantine interface {
	// Keep are the statements that record the rows of c.Quarantined; they are sent in c's transaction, before the
	// ledger's. A key that is aside already is recorded once. The last one answers with a number: how many rows of
	// the run are aside then, those of other transactions that are not committed waited for.
	Keep(c Chunk) []pgsql.Statement
	// Aside counts the rows that are aside.
	Aside(ctx context.Context) (int64, error)
}

// fullError says that more rows cannot be changed than may be set aside.
type fullError struct {
	most int
	row  QuarantinedRow
}

func (e *fullError) Error() string {
	return fmt.Sprintf("more than %d rows cannot be changed, the last one with the key %s: %s", e.most, e.row.Name(), e.row.Why())
}

// quarantinedRow is what is kept of the rows of a chunk that cannot be divided, and of the error that they raise.
func (e *engine) quarantinedRow(chunk Chunk, seg Segment, err error) QuarantinedRow {
	q := QuarantinedRow{Segment: chunk.Segment, Seq: chunk.Seq, Key: chunk.Range.Through, Message: err.Error(), Attempts: 1}
	if seg.Nulls {
		q.Key = nil
	}
	var at *statementError
	if errors.As(err, &at) {
		q.Step = at.name
	}
	var failed *rowFailedError
	if errors.As(err, &failed) {
		q.Message = failed.text
	}
	var server *pgconn.PgError
	if errors.As(err, &server) {
		q.SQLState, q.Message, q.Detail = server.Code, server.Message, server.Detail
	}
	if slices.ContainsFunc(e.plan.Constants, func(c Constant) bool { return c.secret != nil }) {
		q.Detail = "" // it shows the row, whose values are cut: half a secret is not found in it
	}
	q.Message, q.Detail = shortened(q.Message), shortened(q.Detail)
	return q
}

// mostOfMessage is how many bytes of an error are kept of a row: messages repeat values, which can be as large as rows.
const mostOfMessage = 4000

// shortened is the beginning of a text that is too long to be kept, with how long it was.
func shortened(text string) string {
	if len(text) <= mostOfMessage {
		return text
	}
	end := mostOfMessage
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return fmt.Sprintf("%s… (%d bytes in all)", text[:end], len(text))
}

// dataError closes in on a row that cannot be changed. The rows before it are committed on the way; the row itself, when
// it has failed twice, is set aside, or stops the run where none may be.
func (w *worker) dataError(chunk Chunk, try *attempts, err error) error {
	if chunk.size > 1 && !try.segment.Nulls {
		try.narrower(chunk)
		return nil
	}
	switch {
	case chunk.Quarantined != nil: // setting aside changes no row, so that it is not the row's error
		return w.broken(chunk, try, err, "a row that cannot be changed cannot be set aside either", "look at the table pgbackfill.quarantine")
	case chunk.Range.Through == nil && !try.segment.Nulls:
		return w.broken(chunk, try, err, "the next row cannot be found", "look at the table's index on its key: pgbackfill plan shows the statement")
	case !try.failedTwice(chunk):
	case !w.plan.setsAside():
		return w.broken(chunk, try, err, "a row cannot be changed",
			"mend the row or the job's expression, then run it again: it goes on at its page; or give the table a unique key that the job does not write, and start over: such rows are set aside then")
	case w.mayQuarantine() == 0:
		return w.broken(chunk, try, err, "a row cannot be changed",
			"mend the row or the job's expression, then run it again: it goes on at this row; or let such rows be set aside: max_quarantined")
	default:
		chunk.Quarantined = []QuarantinedRow{w.quarantinedRow(chunk, try.segment, err)}
		try.aside = &chunk
	}
	return nil
}

// mayQuarantine is how many rows of the run may be aside.
func (w *worker) mayQuarantine() int {
	if w.quarantine == nil || !w.plan.setsAside() {
		return 0
	}
	return max(w.pace().MaxQuarantined, 0)
}

// full pauses the run that has more rows aside than may be.
func (w *worker) full(ctx context.Context, chunk Chunk, try *attempts, full *fullError) error {
	if full.most == 0 {
		err := w.broken(chunk, try, errors.New(full.row.Why()), "a row cannot be changed", "mend it, then run it again; or let such rows be set aside: max_quarantined")
		w.observe(ChunkFailed{Worker: w.id, Chunk: chunk, Err: err})
		return err
	}
	w.observe(ChunkFailed{Worker: w.id, Chunk: chunk, Err: full, Retry: true})
	name := w.plan.Job.Name
	return w.pauseItself(ctx, fmt.Sprintf("%s; see them with: pgbackfill status %s; mend what is wrong and do them with retry-quarantined, or allow more with: pgbackfill set %s max_quarantined=%d",
		full, name, name, 10*full.most))
}

// setAside commits a chunk whose rows, which have one key, cannot be changed: the ledger says that it is behind us, and
// the quarantine that it is not done, in one transaction.
func (w *worker) setAside(seg Segment, chunk Chunk, try *attempts) (Chunk, *boundary, error) {
	ctx, cancel := w.grace()
	defer cancel()
	chunk.Started, chunk.RowsChanged = time.Now(), make([]int64, max(len(w.sql.steps), 1))
	leave := w.yielded(applicationName(w.sql.job, seg.No)) // it holds locks, and most of all where a page is gone over row by row
	var err error
	if w.plan.Heap != nil {
		err = w.oneByOne(ctx, seg, &chunk)
	} else {
		err = w.alone(ctx, seg, &chunk)
	}
	if err == nil && len(chunk.Quarantined) > 0 {
		err = w.putAside(ctx, &chunk)
	}
	if err != nil {
		rollback(ctx, w.conn.PgConn())
		return chunk, nil, leave(err)
	}
	chunk.Duration = time.Since(chunk.Started)
	w.observe(ChunkChanged{Worker: w.id, Chunk: chunk})
	following, err := w.commit(ctx, seg, &chunk, w.rows(try))
	if err != nil {
		rollback(ctx, w.conn.PgConn())
	}
	return chunk, following, leave(err)
}

// alone makes sure, in a transaction that it leaves open, that the chunk still holds the rows that failed and no others:
// a row that came in between would be set aside though nothing is wrong with it.
func (w *worker) alone(ctx context.Context, seg Segment, chunk *Chunk) error {
	row := &chunk.Quarantined[0]
	answers, err := exchange(ctx, w.conn.PgConn(), pgsql.Begin, w.sql.keySettings(seg, w.pace()), w.sql.walk.Alone(chunk.keys(seg), row.Key))
	if err != nil {
		return err
	}
	counts := answers[2].rows[0]
	if counts[0] != counts[1] || counts[0] == "0" {
		return fmt.Errorf("%w: %s rows, %s of them with the key %s", errEntered, counts[0], counts[1], row.Name())
	}
	row.Rows = number(counts[0])
	chunk.RowsSeen = row.Rows
	return nil
}

// putAside records the chunk's quarantined rows in its transaction, which is open.
func (w *worker) putAside(ctx context.Context, chunk *Chunk) error {
	most := w.mayQuarantine()
	last := chunk.Quarantined[len(chunk.Quarantined)-1]
	if most == 0 {
		return &fullError{row: last}
	}
	answers, err := exchange(ctx, w.conn.PgConn(), w.quarantine.Keep(*chunk)...)
	if err != nil {
		return err
	}
	if chunk.aside = number(answers[len(answers)-1].rows[0][0]); chunk.aside > int64(most) {
		return &fullError{most: most, row: last}
	}
	return nil
}

// aside counts the rows of the run that are aside.
func (e *engine) aside(ctx context.Context) (int64, error) {
	if e.quarantine == nil {
		return 0, nil
	}
	n, err := e.quarantine.Aside(ctx)
	if err != nil {
		return 0, fmt.Errorf("counting the quarantined rows: %w", err)
	}
	return n, nil
}

// finishQuarantined is the finding whose acceptance lets a job's finish be done while rows are quarantined.
const finishQuarantined = "finish-quarantined"

// mayFinish is an error where rows are quarantined. A finish says that all rows are done: it drops what they were made of, which would lose what
// the quarantined ones still need, or validates a constraint that they break. Whoever is called in the night can do the rows and run the job
// again; what was dropped too early nobody brings back.
func (e *engine) mayFinish(ctx context.Context) error {
	aside, err := e.aside(ctx)
	if err != nil || aside == 0 || slices.Contains(e.plan.accepted, finishQuarantined) {
		return err
	}
	return &Error{
		Place: e.place(), Found: "the job's finish is not done: " + human.Plural(aside, "row") + " quarantined", Expected: "none, since finish may drop what these rows still need",
		Remedy: "mend the cause and do them with: pgbackfill retry-quarantined; then run the job again: it goes on with finish. Or, where finish is right without them, run it with --accept " + finishQuarantined,
		Kind:   ErrIncomplete,
	}
}

func (pl *planning) finishWaits() *noticed {
	job := pl.plan.Job
	if job.Finish == nil || !pl.plan.setsAside() || pl.plan.Pace.MaxQuarantined <= 0 {
		return nil
	}
	return &noticed{
		"finish is not done while rows are quarantined",
		fmt.Sprintf("up to %d rows that cannot be changed are set aside: max_quarantined", pl.plan.Pace.MaxQuarantined),
		"where finish is right also without such rows, --accept " + finishQuarantined,
	}
}

// timedOut reports whether a statement that was cancelled ran into its time limit, and was not cancelled by somebody.
func (w *worker) timedOut(chunk Chunk, err error) bool {
	limit := w.pace().StatementTimeout
	return pgerr.Code(err) == pgerr.CodeQueryCanceled && (limit <= 0 || time.Since(chunk.Started) >= limit)
}

// planAside adds the statements about rows that cannot be changed, and those that do them after all.
func (s statements) planAside(key []string, columns []pgsql.KeyColumn, add func(string, ...pgsql.Statement)) error {
	const when = "where rows cannot be changed: whether the chunk holds others besides"
	add(when+", in the first segment", s.walk.Alone(pgsql.Range{Through: key}, key))
	add(when, s.walk.Alone(pgsql.Range{After: key, Through: key}, key))
	if slices.ContainsFunc(columns, func(k pgsql.KeyColumn) bool { return k.Nullable }) {
		add(when+", for the rows with a NULL in the key", s.walk.Alone(pgsql.Range{Nulls: true}, nil))
	}
	at := pgsql.Range{At: key}
	add("retry-quarantined, in the transaction of a key", s.walk.Count(at))
	return s.planChunk(pgsql.Part{Range: at}, "retry-quarantined, in the transaction of a key", add)
}
