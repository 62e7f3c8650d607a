// Package rowjson writes and reads the lines that a transform is spoken to in: one JSON object a row, in which every
// value of PostgreSQL's has exactly one form, and loses nothing in it.
//
//	bigint, integer, smallint, oid      a JSON number with all its digits
//	numeric, real, double precision     the same; NaN, Infinity and -Infinity are strings
//	boolean                             true, false
//	bytea                               a string of base64
//	date, timestamp, timestamptz        a string, ISO 8601; "infinity", "-infinity"; years before Christ end in " BC"
//	json, jsonb                         the JSON itself; of json a line break becomes a blank, and blanks around it go
//	everything else                     a string: the value's text form, as PostgreSQL prints and reads it
//
// null is NULL, and every member is there; for json and jsonb, null is the JSON null, and a member that is not there is
// NULL. What comes back may also be a string where a number or a boolean is meant, and a JSON array where an array
// is: both are what PostgreSQL would read.
//
// A line that comes back repeats the key of its row, in the order of the lines that were sent, and has one member for each
// value that is returned and no other. One that cannot be done says so, with its key:
//
//	{"id": 7, "error": "the token has no issuer"}
//
// A package that reads JSON into Go's values is not used: it takes a number for a float, half a surrogate pair for
// U+FFFD, and the last of two members of one name, all without a word.
package rowjson

// Kind is which form a type's values have.
type Kind int

// The kinds.
const (
	Text Kind = iota
	Number
	Float // a Number that may be -0
	Bool
	Bytes
	Time
	JSON
	Array // as Text; a JSON array is taken as well
)

// PostgreSQL's numbers of its own types.
const (
	oidBool        = 16
	oidBytea       = 17
	oidInt8        = 20
	oidInt2        = 21
	oidInt4        = 23
	oidOID         = 26
	oidJSON        = 114
	oidFloat4      = 700
	oidFloat8      = 701
	oidDate        = 1082
	oidTimestamp   = 1114
	oidTimestamptz = 1184
	oidNumeric     = 1700
	oidJSONB       = 3802
)

// KindOf is the kind of a type, domains resolved; array says that it is one of arrays.
func KindOf(oid uint32, array bool) Kind {
	switch oid {
	case oidBool:
		return Bool
	case oidBytea:
		return Bytes
	case oidInt2, oidInt4, oidInt8, oidOID, oidNumeric:
		return Number
	case oidFloat4, oidFloat8:
		return Float
	case oidDate, oidTimestamp, oidTimestamptz:
		return Time
	case oidJSON, oidJSONB:
		return JSON
	}
	if array {
		return Array
	}
	return Text
}

// Member is a name with its kind.
type Member struct {
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
}
