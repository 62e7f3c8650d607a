package pgparse

// What is proved of NULLs rests on these lists. They hold functions, operators and casts that are
// strict and that never give a NULL for arguments that are none, as PostgreSQL's sources have them up
// to version 18. Left out with purpose, since they do: lower and upper of a range, date_part and
// extract of an infinite time, to_char of one or with an empty format, to_number of an empty text,
// substring with a pattern, regexp_match, a cast of an infinite timestamp to a time, and since
// version 18 one of a JSON null to a scalar.
//
// What is not said to fail does so for no value under any collation, values apart that take hundreds of megabytes.

// known are the types that are reasoned about, by their names in pg_type: none is a composite one, whose
// IS NULL is another thing.
var known = set(`bool bytea date float4 float8 int2 int4 int8 interval numeric text bpchar varchar timestamp timestamptz uuid`)

func isText(t string) bool { return t == "text" || t == "varchar" || t == "bpchar" }

// isTime are the types that casts lead between without a NULL; time is not one of them.
func isTime(t string) bool { return t == "date" || t == "timestamp" || t == "timestamptz" }

// widest orders the numbers by what they are turned into when they meet; 0 is none.
func widest(t string) int {
	switch t {
	case "int2":
		return 1
	case "int4":
		return 2
	case "int8":
		return 3
	case "numeric":
		return 4
	case "float4":
		return 5
	case "float8":
		return 6
	}
	return 0
}

// sum is the type of a number of type l and one of type r, added.
func sum(l, r string) string {
	switch {
	case l == r:
		return l
	case max(widest(l), widest(r)) > widest("numeric"):
		return "float8"
	case widest(l) > widest(r):
		return l
	}
	return r
}

// castKeepsNulls reports whether a cast gives a NULL for a NULL alone, and whether it can fail.
func castKeepsNulls(from, to string) (keeps, fails bool) {
	switch {
	case !known[to]:
		return false, false
	case from == unknown: // read when the statement is parsed
		return true, false
	case !known[from]:
		return false, false
	case from == to:
		return true, to == "numeric" || to == "interval" // to fewer digits
	case isText(to):
		return true, false
	case isText(from):
		return true, true
	case widest(from) > 0 && widest(to) > 0:
		return true, widest(from) > widest(to) || widest(to) > widest("int8")
	case from == "bool" && to == "int4" || from == "int4" && to == "bool":
		return true, false
	case isTime(from) && isTime(to):
		return true, true
	}
	return false, false
}

// signature is one function: the types of its arguments, of its result, and whether it can fail.
type signature struct {
	args   []string
	result string
	fails  bool
}

// takes reports whether the server would choose this function for the arguments, where there is none
// but PostgreSQL's own of its name. A bare constant counts as text, but not in the first place, where
// other functions of the name might want it.
func (s signature) takes(args []part) bool {
	if len(args) != len(s.args) {
		return false
	}
	for i, a := range args {
		switch want := s.args[i]; {
		case a.typ == want:
		case want == "text" && (isText(a.typ) || a.typ == unknown && i > 0):
		case want == "int4" && a.typ == "int2":
		case want == constantText && a.typ == unknown:
		default:
			return false
		}
	}
	return true
}

// constantText takes the place of an argument that must be a bare string constant.
const constantText = "constant"

func safe(result string, args ...string) signature { return signature{args: args, result: result} }

func risky(result string, args ...string) signature {
	return signature{args: args, result: result, fails: true}
}

// collated are functions that fail where the collation of their text cannot be told, which the server finds out when it calls them.
var collated = set(`initcap lower upper`)

// strictFunctions are all strict, never give a NULL for arguments that are none, and are not volatile.
var strictFunctions = map[string][]signature{
	"initcap":          {safe("text", "text")},
	"lower":            {safe("text", "text")},
	"upper":            {safe("text", "text")},
	"btrim":            {safe("text", "text"), safe("text", "text", "text")},
	"ltrim":            {safe("text", "text"), safe("text", "text", "text")},
	"rtrim":            {safe("text", "text"), safe("text", "text", "text")},
	"reverse":          {safe("text", "text")},
	"left":             {safe("text", "text", "int4")},
	"right":            {safe("text", "text", "int4")},
	"translate":        {safe("text", "text", "text", "text")},
	"length":           {safe("int4", "text"), safe("int4", "bytea")},
	"char_length":      {safe("int4", "text")},
	"character_length": {safe("int4", "text")},
	"octet_length":     {safe("int4", "text"), safe("int4", "bytea")},
	"strpos":           {risky("int4", "text", "text")}, // up to version 17 an error under a nondeterministic collation
	"ascii":            {risky("int4", "text")},
	"md5":              {risky("text", "text"), risky("text", "bytea")},
	"sha256":           {risky("bytea", "bytea")},
	"sha512":           {risky("bytea", "bytea")},
	"encode":           {risky("text", "bytea", "text")},
	"decode":           {risky("bytea", "text", "text")},
	"convert_to":       {risky("bytea", "text", constantText)},
	"replace":          {risky("text", "text", "text", "text")},
	"repeat":           {risky("text", "text", "int4")},
	"lpad":             {risky("text", "text", "int4"), risky("text", "text", "int4", "text")},
	"rpad":             {risky("text", "text", "int4"), risky("text", "text", "int4", "text")},
	"split_part":       {risky("text", "text", "text", "int4")},
	"substr":           {risky("text", "text", "int4"), risky("text", "text", "int4", "int4")},
	"substring":        {risky("text", "text", "int4"), risky("text", "text", "int4", "int4")},
	"abs": {
		risky("int2", "int2"), risky("int4", "int4"), risky("int8", "int8"), safe("numeric", "numeric"),
		safe("float4", "float4"), safe("float8", "float8"),
	},
	"ceil":       {risky("numeric", "numeric"), safe("float8", "float8")},
	"ceiling":    {risky("numeric", "numeric"), safe("float8", "float8")},
	"floor":      {risky("numeric", "numeric"), safe("float8", "float8")},
	"round":      {risky("numeric", "numeric"), safe("float8", "float8"), risky("numeric", "numeric", "int4")},
	"trunc":      {risky("numeric", "numeric"), safe("float8", "float8"), risky("numeric", "numeric", "int4")},
	"date_trunc": {risky("timestamp", constantText, "timestamp"), risky("timestamptz", constantText, "timestamptz")},
}
