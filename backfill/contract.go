package backfill

import (
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Contract says what the contract migration removes, and what must be proven before it may. It may change without
// being another job.
type Contract struct {
	// Drops are the columns that go.
	Drops []Dropped `json:"drops"`
	// Soak is how long dual writes must have been seen to be right, and MinWrites on how many writes at least.
	Soak      time.Duration `json:"soak"`
	MinWrites int           `json:"min_writes"`
	// ReportMaxAge is how old a verification may be when the migration runs.
	ReportMaxAge time.Duration `json:"report_max_age"`
	// Backup tells when the last backup was made. Nil says nothing.
	Backup *Backup `json:"backup,omitempty"`
	Line   int     `json:"-"`
}

// What holds where a job does not say.
const (
	DefaultSoak         = 24 * time.Hour
	DefaultMinWrites    = 1000
	DefaultReportMaxAge = time.Hour
	DefaultBackupMaxAge = 24 * time.Hour
)

// Dropped is a column that goes. A table without a schema is the walked one where that has the name, and else found by
// the search_path.
type Dropped struct {
	Table  TableName `json:"table"`
	Column string    `json:"column"`
}

// String is the column as SQL names it.
func (d Dropped) String() string {
	if d.Table.Schema == "" {
		return pgsql.Ident(d.Table.Name, d.Column)
	}
	return pgsql.Ident(d.Table.Schema, d.Table.Name, d.Column)
}

// Backup tells when the last backup was made.
type Backup struct {
	// Query returns one timestamptz; NULL is never.
	Query Expr `json:"query"`
	// MaxAge is how old it may be.
	MaxAge time.Duration `json:"max_age"`
}

// ContractTerms are the job's, or those that hold where it says nothing.
func (j Job) ContractTerms() Contract {
	if j.Contract != nil {
		return *j.Contract
	}
	return Contract{Soak: DefaultSoak, MinWrites: DefaultMinWrites, ReportMaxAge: DefaultReportMaxAge}
}
