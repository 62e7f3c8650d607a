package jobs

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// changing are PostgreSQL's functions that give another value each time.
var changing = []string{
	"clock_timestamp", "current_date", "current_time", "current_timestamp", "gen_random_uuid", "localtime", "localtimestamp",
	"nextval", "now", "random", "random_normal", "statement_timestamp", "timeofday", "transaction_timestamp",
	"uuid_generate_v1", "uuid_generate_v1mc", "uuid_generate_v4", "uuidv4", "uuidv7",
}

// Warnings says what in a job may not be what was meant, though it can be run: a line
// each, with its place. The database is not asked; a plan finds more.
func Warnings(job backfill.Job) []string {
	var list []string
	warn := func(line int, format string, args ...any) {
		place := originFile.ReplaceAllString(job.Origin, "")
		if line > 0 {
			place = fmt.Sprintf("%s:%d", place, line)
		}
		list = append(list, place+": "+fmt.Sprintf(format, args...))
	}
	written := writtenColumns(job)
	for _, a := range job.Assignments() {
		if !job.Idempotent {
			break
		}
		if read := readsWritten(a, written); read != "" {
			warn(a.Value.Line, "`%s` is computed from `%s`, which this job writes: if running it twice changes the value again, say `idempotent: false`", a.Column, read)
		}
		for _, f := range a.Value.Functions {
			if slices.Contains(changing, f) {
				warn(a.Value.Line, "`%s` gets another value each time, from %s: running it twice changes it again; say `idempotent: false`, or write a constant", a.Column, f)
				break
			}
		}
	}
	if p := job.Pace; p.ChunkRows > 0 && (p.ChunkTarget > 0 || p.ChunkMaxRows > 0) {
		warn(0, "job %s: `chunk.rows` fixes the size of a chunk, so `target` and `max_rows` have no effect", job.Name)
	}
	return list
}

// originFile matches what an origin has behind the file's name.
var originFile = regexp.MustCompile(`#\d+$`)

// writtenColumns are the columns that the job gives a value other than their own.
func writtenColumns(job backfill.Job) []string {
	var names []string
	for _, a := range job.Assignments() {
		if !slices.Contains([]string{"t." + a.Column, a.Column}, identity(a.Value)) {
			names = append(names, a.Column)
		}
	}
	return names
}

// identity is the column that an expression is and nothing more, or "".
func identity(e backfill.Expr) string {
	bare := strings.Trim(e.SQL, "() \t\r\n")
	if len(e.Columns) == 1 && len(e.Functions) == 0 && strings.EqualFold(strings.ReplaceAll(bare, `"`, ""), e.Columns[0]) {
		return e.Columns[0]
	}
	return ""
}

// fillsGap matches an expression that keeps what is there and fills in what is not.
var fillsGap = regexp.MustCompile(`(?is)^\s*coalesce\s*\(\s*(t\s*\.\s*)?"?([^"\s,.]+)"?\s*,`)

// readsWritten is a written column that the assignment reads, or "". A COALESCE that
// begins with the column itself gives the same the second time.
func readsWritten(a backfill.Assignment, written []string) string {
	if m := fillsGap.FindStringSubmatch(a.Value.SQL); m != nil && strings.EqualFold(m[2], a.Column) {
		return ""
	}
	for _, column := range a.Value.Columns {
		for _, w := range written {
			if column == "t."+w || column == w {
				return w
			}
		}
	}
	return ""
}
