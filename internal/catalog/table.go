package catalog

// Table is the shape of a table, and of everything that an update of it touches. Where it is partitioned, or
// others inherit from it, what is counted is counted over all of them.
type Table struct {
	OID    uint32 `json:"oid"`
	Schema string `json:"schema"`
	Name   string `json:"name"`
	// Quoted is the qualified name as SQL takes it.
	Quoted string `json:"quoted"`
	Owner  string `json:"owner"`
	// Partitioned is set for a partitioned parent; Partitions are its leaves, quoted, and PartitionKey the columns
	// that choose among them.
	Partitioned  bool     `json:"partitioned"`
	Partitions   []string `json:"partitions,omitempty"`
	PartitionKey []string `json:"partition_key,omitempty"`
	// Children are tables that inherit from this one without being its partitions, quoted.
	Children []string `json:"children,omitempty"`
	// Foreign are the partitions and children that are foreign tables, quoted.
	Foreign  []string `json:"foreign,omitempty"`
	Unlogged bool     `json:"unlogged,omitempty"`

	Columns     []Column     `json:"columns"`
	Indexes     []Index      `json:"indexes"`
	Triggers    []Trigger    `json:"triggers,omitempty"`
	Constraints []Constraint `json:"constraints,omitempty"`
	// Rules are the names of its rewrite rules.
	Rules []string `json:"rules,omitempty"`

	// RowSecurity is set where row security is enabled, RowSecurityApplies where this role is subject to it.
	RowSecurity        bool `json:"row_security,omitempty"`
	RowSecurityApplies bool `json:"row_security_applies,omitempty"`
	// MaySelect and MayUpdate say whether the role may read and update the whole table; [Column] has them by column.
	// MaySelectXmin is the SELECT of the rows' versions, which no grant of the table's own columns brings.
	// MayUse is the USAGE of its schema.
	MaySelect     bool `json:"may_select"`
	MayUpdate     bool `json:"may_update"`
	MaySelectXmin bool `json:"may_select_xmin"`
	MayUse        bool `json:"may_use"`
	// MayAlter is set for the owner, whoever has the owner's rights, and superusers.
	MayAlter bool `json:"may_alter"`

	// Publications publish the table's updates. NoIdentity are the tables, quoted, that they publish and that have no
	// replica identity: an update of those fails. FullIdentity are those that log whole old rows.
	Publications []string `json:"publications,omitempty"`
	NoIdentity   []string `json:"no_identity,omitempty"`
	FullIdentity []string `json:"full_identity,omitempty"`

	// Pages and Rows are what the last VACUUM or ANALYZE counted; Rows is -1 where there was none.
	Pages int64   `json:"pages"`
	Rows  float64 `json:"rows"`
	// CurrentPages are the pages now; Bytes the size with TOAST and without indexes, IndexBytes that of the indexes.
	CurrentPages int64 `json:"current_pages"`
	Bytes        int64 `json:"bytes"`
	IndexBytes   int64 `json:"index_bytes"`
	// FillFactor is the least of all tables', in percent. Toasted is set where there is a TOAST table.
	FillFactor int  `json:"fillfactor"`
	Toasted    bool `json:"toasted,omitempty"`
	// FrozenAge is the age of the oldest relfrozenxid, in transactions.
	FrozenAge int64 `json:"frozen_age"`
	// AutovacuumOff are the tables, quoted, for which autovacuum is turned off.
	AutovacuumOff []string `json:"autovacuum_off,omitempty"`
}

// Compare says how one sees whether two values of a column are the same, byte for byte.
type Compare string

// How values are compared.
const (
	// CompareIdentity is for types whose = means the same bytes.
	CompareIdentity Compare = "identity"
	// CompareCollateC is for text: byte for byte, whatever collations the two values bring.
	CompareCollateC Compare = "collate-c"
	// CompareImage is for the rest: types whose = is not identity (the scale of numeric, the -0 of float, citext,
	// jsonb, interval …) or that have none (json).
	CompareImage Compare = "image"
)

// Column is one column. Dropped ones are left out.
type Column struct {
	Number int16  `json:"number"`
	Name   string `json:"name"`
	// Type is the full type as format_type gives it, qualified where it is not built in: "character(5)", "public.citext".
	Type    string `json:"type"`
	TypeOID uint32 `json:"type_oid"`
	// BaseType is what a domain stands for in the end, and TypeOID where the type is no domain.
	BaseType uint32 `json:"base_type"`
	// BareType is the name of BaseType without a length or a precision: "bpchar", "numeric". A cast to it cuts nothing.
	BareType string  `json:"bare_type"`
	Typmod   int32   `json:"typmod"`
	Compare  Compare `json:"compare"`
	// Collation is quoted and qualified; "" where the type has none.
	Collation string `json:"collation,omitempty"`
	NotNull   bool   `json:"not_null"`
	// Generated is set for GENERATED ALWAYS AS (…), and Virtual where it is not STORED but computed whenever it is read (from
	// PostgreSQL 18): a trigger's rows do not have it. IdentityAlways and Identity are GENERATED ALWAYS and BY DEFAULT AS IDENTITY.
	Generated      bool `json:"generated,omitempty"`
	Virtual        bool `json:"virtual,omitempty"`
	Identity       bool `json:"identity,omitempty"`
	IdentityAlways bool `json:"identity_always,omitempty"`
	// Default is the expression, or that of a generated column.
	Default string `json:"default,omitempty"`
	// Operators are those of the type's default btree operator class, qualified: <, <=, =, >=, >.
	// It is empty where the type has no order.
	Operators []string `json:"-"`
	// Width is the type's length in bytes, or what statistics say of a variable one; 32 where there are none.
	Width int64 `json:"width"`
	// NullFraction is from statistics, -1 where there are none or they may not be read.
	NullFraction float64 `json:"null_fraction"`
	// Correlation is how far the rows lie in the order of the column's values, from -1 to 1, from statistics; nil is
	// not known.
	Correlation *float64 `json:"correlation,omitempty"`
	MaySelect   bool     `json:"may_select"`
	MayUpdate   bool     `json:"may_update"`
}

// Column returns the column of that name, or nil.
func (t *Table) Column(name string) *Column {
	for i := range t.Columns {
		if t.Columns[i].Name == name {
			return &t.Columns[i]
		}
	}
	return nil
}

// ColumnNames are the names of all columns, in order.
func (t *Table) ColumnNames() []string {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = c.Name
	}
	return names
}

// Index is one index of the table itself.
type Index struct {
	OID    uint32 `json:"oid"`
	Name   string `json:"name"`
	Method string `json:"method"`
	// Columns are the key columns in order, then the INCLUDE ones.
	Columns []IndexColumn `json:"columns"`
	Unique  bool          `json:"unique,omitempty"`
	Primary bool          `json:"primary,omitempty"`
	// Valid is set where the index is complete and used: not one left behind by a failed CREATE INDEX CONCURRENTLY.
	Valid bool `json:"valid"`
	// Partial is set where it has a predicate, Deferrable where its uniqueness may be checked at commit.
	Partial          bool `json:"partial,omitempty"`
	Deferrable       bool `json:"deferrable,omitempty"`
	NullsNotDistinct bool `json:"nulls_not_distinct,omitempty"`
	// Definition is the CREATE INDEX statement.
	Definition string `json:"definition"`
	// Reads are the columns that its expressions and its predicate mention.
	Reads []string `json:"reads,omitempty"`
}

// IndexColumn is one column of an index.
type IndexColumn struct {
	// Name is the column's; "" is an expression.
	Name string `json:"name"`
	// Included is set for INCLUDE columns, of which the rest means nothing.
	Included bool `json:"included,omitempty"`
	// Descending and NullsFirst are the column's order.
	Descending bool `json:"descending,omitempty"`
	NullsFirst bool `json:"nulls_first,omitempty"`
	// Class is the operator class, qualified, and Operators its <, <=, =, >=, >; of btree indexes only.
	Class     string   `json:"class,omitempty"`
	Operators []string `json:"-"`
	// Collation is quoted and qualified, "" is none. Deterministic is set where equal means the same bytes.
	Collation        string `json:"collation,omitempty"`
	Deterministic    bool   `json:"deterministic"`
	CollationVersion string `json:"collation_version,omitempty"`
}

// Trigger is one trigger that somebody made, on the table or on one below it.
type Trigger struct {
	Name string `json:"name"`
	// Table is where it is, quoted; Function what it calls, quoted; Definition the CREATE TRIGGER statement.
	Table      string `json:"table"`
	Function   string `json:"function"`
	Definition string `json:"definition"`
	// OnUpdate is set where an UPDATE fires it; of the columns Of only, where there are any.
	OnUpdate bool     `json:"on_update"`
	Of       []string `json:"of,omitempty"`
	Before   bool     `json:"before"`
	ForEach  string   `json:"for_each"`
	// Enabled is what ordinary sessions see.
	Enabled bool `json:"enabled"`
	// OnInsert and OnDelete are set where an INSERT or a DELETE fires it.
	OnInsert bool `json:"on_insert,omitempty"`
	OnDelete bool `json:"on_delete,omitempty"`
}

// Constraint is a foreign key in either direction, or a check.
type Constraint struct {
	Name string `json:"name"`
	// Kind is "foreign key" where this table refers to Other, "referenced" where Other refers to it, "check", or "not null", of which
	// only those are here that are NOT VALID.
	Kind string `json:"kind"`
	// Other is the other table, quoted; "" for a check.
	Other string `json:"other,omitempty"`
	// Columns are this table's columns.
	Columns []string `json:"columns"`
	// OnUpdate is what an update of a referenced key does: "no action", "restrict", "cascade", "set null", "set default".
	OnUpdate string `json:"on_update,omitempty"`
	// OnDelete is what a deletion of a referenced row does, in the same words.
	OnDelete  string `json:"on_delete,omitempty"`
	Validated bool   `json:"validated"`
	// Enforced is set where the server checks it at all; from PostgreSQL 18 on there is NOT ENFORCED.
	Enforced bool `json:"enforced"`
	// Definition is the constraint as SQL.
	Definition string `json:"definition"`
}

// The kinds of constraint.
const (
	ForeignKey = "foreign key"
	Referenced = "referenced"
	Check      = "check"
	NotNull    = "not null"
)
