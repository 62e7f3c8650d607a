package pgparse

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNameFoldsAsPostgreSQLDoes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sql  string
		want []string
	}{
		{"users", []string{"users"}},
		{"Public.Users", []string{"public", "users"}},
		{`public."Users"`, []string{"public", "Users"}},
		{`"a.b"."c ""d"""`, []string{"a.b", `c "d"`}},
		{" name ", []string{"name"}},
		{"values.type", []string{"values", "type"}},
		{"größe", []string{"größe"}},
		{`"order"`, []string{"order"}},
		{`U&"d\0061t"`, []string{"dat"}},
		{strings.Repeat("a", 63), []string{strings.Repeat("a", 63)}},
	} {
		got, err := Name(c.sql)
		if err != nil {
			t.Errorf("%s: %v", c.sql, err)
		} else if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s:\n%s", c.sql, diff)
		}
	}
}

func TestNameRefusesEverythingElse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sql, found string
		offset     int
	}{
		{"", "nothing but white space or comments", 0},
		{"user", "the keyword user", 0},
		{"public.order", "the keyword order", 7},
		{"users u", "u in the name", 6},
		{"users *", "* in the name", 6},
		{"ONLY users", "the keyword ONLY", 0},
		{"users-old", "- in the name", 5},
		{"users, posts", ", in the name", 5},
		{"users -- all", "-- all in the name", 6},
		{"f()", "( in the name", 1},
		{"a.b.c", "a name in three parts", 0},
		{"a.", "a dot at the end of the name", 2},
		{"users;", "a ; which ends the statement", 5},
		{"'users'", "'users' in the name", 0},
		{"1users", `trailing junk after numeric literal at or near "1users"`, 0},
		{`""`, `zero-length delimited identifier at or near """"`, 0},
		{strings.Repeat("a", 64), "a name of 64 bytes, of which PostgreSQL keeps 63", 0},
		{`s."` + strings.Repeat("é", 32) + `"`, "a name of 64 bytes, of which PostgreSQL keeps 63", 2},
	} {
		_, err := Name(c.sql)
		checkError(t, c.sql, err, c.found, c.offset)
	}
}

func TestColumns(t *testing.T) {
	t.Parallel()
	got, err := Columns(`d.Org_ID, "d"."Id", x`)
	if diff := cmp.Diff([][]string{{"d", "org_id"}, {"d", "Id"}, {"x"}}, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for _, c := range []struct {
		sql, found string
		offset     int
	}{
		{"d.*", "a *", 0},
		{"d.a, f(d.b)", "something that is not a column's name", 5},
		{"d.a x", "something that is not a column's name", 0},
		{"d.a FROM d", "the clause FROM too", 10},
		{"d.a d.b", `syntax error at or near "."`, 5},
	} {
		_, err := Columns(c.sql)
		checkError(t, c.sql, err, c.found, c.offset)
	}
}
