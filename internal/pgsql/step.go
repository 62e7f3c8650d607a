package pgsql

import "fmt"

// Step is one thing that is done to a chunk's rows, in its transaction: a [Change], a [Delete] or a [Command].
type Step interface {
	// Statements are those of one chunk. The last is the step itself, those before it lock its rows.
	Statements(p Part) ([]Statement, error)
	// Check is the step's own SQL in the plainest form that the server accepts, for preparing.
	Check(p Part) (Statement, error)
}

// Delete deletes the rows in scope.
type Delete struct {
	Scope
	// Name is the step's, and that of its statement.
	Name string
	// LockFirst says that the scope reads more than the row itself: see [Change.LockFirst].
	LockFirst bool
}

// Statements are those of one chunk.
func (d Delete) Statements(p Part) ([]Statement, error) {
	var list []Statement
	if d.LockFirst {
		lock, err := d.Lock(p)
		if err != nil {
			return nil, err
		}
		list = append(list, lock)
	}
	f := d.filling(p)
	sql := fmt.Sprintf("DELETE FROM %s AS t\nWHERE %s\n  AND %s", d.Table, f.scoped(), remembers)
	return append(list, Statement{Name: d.Name, SQL: sql, Args: f.b.Args()}), f.err
}

// Check is the deletion without a range.
func (d Delete) Check(p Part) (Statement, error) {
	f := d.filling(p)
	sql := fmt.Sprintf("DELETE FROM %s AS t\nWHERE true", d.Table)
	if d.Where != "" {
		sql += "\n  AND " + f.where()
	}
	return Statement{Name: "check", SQL: sql, Args: f.b.Args()}, f.err
}

// Command is a statement of the job's own: one INSERT, UPDATE, DELETE or MERGE with templates in it.
type Command struct {
	Scope
	// Name is the step's, and that of its statement.
	Name string
	SQL  string
}

// Statements are those of one chunk.
func (c Command) Statements(p Part) ([]Statement, error) {
	f := c.filling(p)
	sql := f.fill(c.SQL)
	return []Statement{{Name: c.Name, SQL: sql, Args: f.b.Args()}}, f.err
}

// Check is the statement as a chunk sends it.
func (c Command) Check(p Part) (Statement, error) {
	list, err := c.Statements(p)
	if err != nil {
		return Statement{}, err
	}
	list[0].Name = "check"
	return list[0], nil
}
