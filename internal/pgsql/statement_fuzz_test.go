package pgsql_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// FuzzTextArray checks that a key, which is kept and sent as text[], is read as it was written by who else reads arrays: pgx.
// Elements are divided by NUL, which PostgreSQL has none of; \x01 is NULL.
func FuzzTextArray(f *testing.F) {
	for _, s := range []string{"", "a\x00b", "\x01", "NULL\x00null\x00\x01", "{}\x00{a,b}", `"` + "\x00" + `\` + "\x00" + `\\"`, " \t\x00\n\r\v\f", ",\x00;", "é\u202e\u200b", "\x00\x00", "[0:1]={a,b}", "\u0085\u00a0"} {
		f.Add(s)
	}
	types := pgtype.NewMap()
	f.Fuzz(func(t *testing.T, text string) {
		list := strings.Split(text, "\x00")
		nullable := make([]*string, len(list))
		for i := range list {
			if list[i] != "\x01" {
				nullable[i] = &list[i]
			}
		}
		var got []string
		if err := types.Scan(pgtype.TextArrayOID, pgtype.TextFormatCode, pgsql.TextArray(list), &got); err != nil || !slices.Equal(got, list) {
			t.Fatalf("%q is read as %q, %v", list, got, err)
		}
		var some []*string
		if err := types.Scan(pgtype.TextArrayOID, pgtype.TextFormatCode, pgsql.NullableTextArray(nullable), &some); err != nil || len(some) != len(list) {
			t.Fatalf("%q is read as %v, %v", list, some, err)
		}
		for i, s := range some {
			if (s == nil) != (nullable[i] == nil) || s != nil && *s != list[i] {
				t.Fatalf("element %d of %q is read as %v", i, list, s)
			}
		}
	})
}
