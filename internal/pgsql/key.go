package pgsql

// KeyColumn is one column of a walked key, with all a statement needs to compare it as
// the index does, whatever the session's settings.
type KeyColumn struct {
	// Name is the column's name, unquoted.
	Name string `json:"name"`
	// Type is the full type as format_type gives it, schema-qualified where it is not built in:
	// "bigint", "character(5)", "public.citext". A shorter name can mean a shorter type.
	Type string `json:"type"`
	// Collation is the index's collation, quoted and qualified; "" where the type has none.
	Collation string `json:"collation,omitempty"`
	// Less, LessEqual, Equal, GreaterEqual, Greater are the operators of the index's operator class,
	// qualified: "pg_catalog.<".
	Less         string `json:"less"`
	LessEqual    string `json:"less_equal"`
	Equal        string `json:"equal"`
	GreaterEqual string `json:"greater_equal"`
	Greater      string `json:"greater"`
	// Nullable is set where the column may hold NULL.
	Nullable bool `json:"nullable,omitempty"`
}
