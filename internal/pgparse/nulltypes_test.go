package pgparse

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// samples are values of each type, those first that functions like to make a NULL of.
var samples = map[string][]string{
	"bool": {"false", "true"}, "bytea": {"", `\x00ff`, "abc"}, "date": {"-infinity", "infinity", "2024-02-29"},
	"float4": {"NaN", "-Infinity", "0", "1.5", "3e38"}, "float8": {"NaN", "Infinity", "-0", "1.5", "1e300"},
	"int2": {"-32768", "0", "7"}, "int4": {"-2147483648", "-1", "0", "3"}, "int8": {"-9223372036854775808", "0", "12"},
	"interval": {"0", "-178000000 years", "1 day"}, "numeric": {"NaN", "0", "-1.50", "1e200"},
	"text": {"", " ", "0", "é", "2024-02-29", "infinity", "true", "hex", "null"}, "bpchar": {"", "  ", "x "}, "varchar": {"", "Ab"},
	"timestamp": {"-infinity", "infinity", "2024-02-29 12:00"}, "timestamptz": {"-infinity", "infinity", "2024-02-29 12:00+01"},
	"uuid": {"00000000-0000-0000-0000-000000000000"}, constantText: {"hour", "UTF8", ""},
}

// gives asks the server for a value and reports whether it is a NULL; an error is none.
func gives(t *testing.T, conn *pgx.Conn, sql string) bool {
	t.Helper()
	var null bool
	err := conn.QueryRow(t.Context(), "SELECT ("+sql+") IS NULL").Scan(&null)
	var refused *pgconn.PgError
	if err != nil && (!errors.As(err, &refused) || strings.HasPrefix(refused.Code, "42")) {
		t.Errorf("%s: %v", sql, err)
	}
	return null
}

func sample(value, typ string) string {
	literal := "'" + value + "'"
	if typ == constantText {
		return literal
	}
	return literal + "::pg_catalog." + `"` + typ + `"`
}

// No cast in the list makes a NULL of a value. Made to fail: with time among the times, an infinite
// timestamp is one.
func TestCastsKeepNulls(t *testing.T) {
	t.Parallel()
	conn := pgtest.New(t).Conn()
	for _, from := range slices.Sorted(maps.Keys(known)) {
		for _, to := range slices.Sorted(maps.Keys(known)) {
			if keeps, _ := castKeepsNulls(from, to); !keeps {
				continue
			}
			for _, v := range samples[from] {
				if sql := sample(v, from) + `::pg_catalog."` + to + `"`; gives(t, conn, sql) {
					t.Errorf("%s is NULL", sql)
				}
			}
			if !gives(t, conn, `NULL::pg_catalog."`+from+`"::pg_catalog."`+to+`"`) {
				t.Errorf("NULL from %s to %s is not NULL", from, to)
			}
		}
	}
}

// Every function in the list is one of PostgreSQL's own that is strict and not volatile, gives the type that the
// list says, and a NULL for none of the samples. Made to fail: with date_part(text, timestamptz) and
// to_char(timestamptz, text) in the list.
func TestFunctionsKeepNulls(t *testing.T) {
	t.Parallel()
	conn := pgtest.New(t).Conn()
	for _, name := range slices.Sorted(maps.Keys(strictFunctions)) {
		for _, s := range strictFunctions[name] {
			for _, call := range calls(name, s.args) {
				if gives(t, conn, call) {
					t.Errorf("%s is NULL", call)
				}
			}
			args := strings.ReplaceAll(strings.Join(s.args, ","), constantText, "text")
			if name == "convert_to" {
				args = "text,name"
			}
			var strictly, volatile bool
			var result string
			err := conn.QueryRow(t.Context(), `SELECT p.proisstrict, p.provolatile = 'v', y.typname FROM pg_proc AS p JOIN pg_type AS y ON y.oid = p.prorettype
				WHERE p.oid = $1::text::regprocedure AND p.oid < 16384 AND p.prokind = 'f' AND NOT p.proretset`, name+"("+args+")").Scan(&strictly, &volatile, &result)
			if err != nil || !strictly || volatile || result != s.result {
				t.Errorf("%s(%s): strict %t, volatile %t, gives %s, expected %s: %v", name, args, strictly, volatile, result, s.result, err)
			}
		}
	}
}

// What is not said to fail does so for none of the samples, under a collation that is not deterministic as under others. Made to fail: with strpos
// among the safe ones.
func TestSafeFunctionsDoNotFail(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec("CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
	conn := db.Conn()
	for _, name := range slices.Sorted(maps.Keys(strictFunctions)) {
		for _, s := range strictFunctions[name] {
			if s.fails {
				continue
			}
			for _, call := range calls(name, s.args) {
				for _, collate := range []string{"", ` COLLATE "C"`, ` COLLATE "de-x-icu"`, " COLLATE any_case"} {
					sql := strings.ReplaceAll(call, `"text"`, `"text"`+collate)
					if _, err := conn.Exec(t.Context(), "SELECT "+sql); err != nil {
						t.Errorf("%s: %v", sql, err)
					}
				}
			}
		}
	}
	// The texts of two columns may have no collation together.
	db.Exec(`CREATE TABLE w (a text COLLATE "C", b text COLLATE "de-x-icu"); INSERT INTO w VALUES ('a', 'b')`)
	for name := range strictFunctions {
		for _, s := range strictFunctions[name] {
			if len(s.args) == 0 || s.args[0] != "text" || s.fails || collated[name] {
				continue
			}
			for _, call := range calls(name, s.args[1:]) {
				sql := strings.Replace(call, "(", "(a || b", 1)
				if len(s.args) > 1 {
					sql = strings.Replace(call, "(", "(a || b, ", 1)
				}
				if _, err := conn.Exec(t.Context(), "SELECT "+sql+" FROM w"); err != nil {
					t.Errorf("%s: %v", sql, err)
				}
			}
		}
	}
}

// calls are calls of a function with every combination of samples.
func calls(name string, args []string) []string {
	list := []string{""}
	for _, arg := range args {
		var longer []string
		for _, head := range list {
			for _, v := range samples[arg] {
				longer = append(longer, head+", "+sample(v, arg))
			}
		}
		list = longer
	}
	for i := range list {
		list[i] = "pg_catalog." + name + "(" + strings.TrimPrefix(list[i], ", ") + ")"
	}
	return list
}

// Numbers meet in the type that the server gives their sum.
func TestSums(t *testing.T) {
	t.Parallel()
	conn := pgtest.New(t).Conn()
	for _, l := range slices.Sorted(maps.Keys(known)) {
		for _, r := range slices.Sorted(maps.Keys(known)) {
			if widest(l) == 0 || widest(r) == 0 {
				continue
			}
			for _, op := range []string{"+", "-", "*", "/"} {
				var got string
				query := fmt.Sprintf(`SELECT y.typname FROM pg_type AS y WHERE y.oid = pg_typeof(1::%s %s 1::%s)`, l, op, r)
				if err := conn.QueryRow(t.Context(), query).Scan(&got); err != nil || got != sum(l, r) {
					t.Errorf("%s %s %s gives %s, expected %s: %v", l, op, r, got, sum(l, r), err)
				}
			}
		}
	}
}
