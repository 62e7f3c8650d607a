package catalog

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// A key's column by column description for every sort of type and index. The name of a type must be the whole of it:
// ::character cuts to one letter.
func TestResolveKey(t *testing.T) {
	t.Parallel()
	builtin := func(name, typ, collation string) KeyPart {
		return KeyPart{
			Name: name, Type: typ, Collation: collation, Deterministic: true, Less: "pg_catalog.<", LessEqual: "pg_catalog.<=",
			Equal: "pg_catalog.=", GreaterEqual: "pg_catalog.>=", Greater: "pg_catalog.>",
		}
	}
	const deflt = `pg_catalog."default"`
	for _, c := range []struct {
		name, ddl string
		key       []string
		index     string
		unique    bool
		parts     []KeyPart
	}{
		{"bigint", "CREATE TABLE w (id bigint PRIMARY KEY)", nil, "w_pkey", true, []KeyPart{builtin("id", "bigint", "")}},
		{"char(5)", "CREATE TABLE w (k char(5) PRIMARY KEY)", nil, "w_pkey", true, []KeyPart{builtin("k", "character(5)", deflt)}},
		{"varchar(7)", "CREATE TABLE w (k varchar(7) PRIMARY KEY)", nil, "w_pkey", true, []KeyPart{builtin("k", "character varying(7)", deflt)}},
		{"numeric(8,2)", "CREATE TABLE w (k numeric(8,2) PRIMARY KEY)", nil, "w_pkey", true, []KeyPart{builtin("k", "numeric(8,2)", "")}},
		{"timestamptz(3)", "CREATE TABLE w (k timestamptz(3) PRIMARY KEY)", nil, "w_pkey", true, []KeyPart{builtin("k", "timestamp(3) with time zone", "")}},
		{"uuid", "CREATE TABLE w (k uuid PRIMARY KEY)", nil, "w_pkey", true, []KeyPart{builtin("k", "uuid", "")}},
		{"enum", "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE w (k mood PRIMARY KEY)", nil, "w_pkey", true, []KeyPart{builtin("k", "public.mood", "")}},
		{"array", "CREATE TABLE w (k int[] PRIMARY KEY)", nil, "w_pkey", true, []KeyPart{builtin("k", "integer[]", "")}},
		{"domain", "CREATE DOMAIN code AS varchar(3); CREATE TABLE w (k code PRIMARY KEY)", nil, "w_pkey", true, []KeyPart{builtin("k", "public.code", deflt)}},
		{"composite", `CREATE TABLE w ("A b" int, b date, PRIMARY KEY (b, "A b"))`, nil, "w_pkey", true, []KeyPart{builtin("b", "date", ""), builtin("A b", "integer", "")}},
		{"included columns are no part of it", "CREATE TABLE w (id int, x int, PRIMARY KEY (id) INCLUDE (x))", nil, "w_pkey", true, []KeyPart{builtin("id", "integer", "")}},
		{"collation C of the index", `CREATE TABLE w (k text NOT NULL); CREATE UNIQUE INDEX i ON w (k COLLATE "C")`, nil, "i", true, []KeyPart{builtin("k", "text", `pg_catalog."C"`)}},
		{"descending", "CREATE TABLE w (k int NOT NULL); CREATE UNIQUE INDEX i ON w (k DESC)", nil, "i", true, []KeyPart{builtin("k", "integer", "")}},
		{"prefix of a longer index", "CREATE TABLE w (a int NOT NULL, b int); CREATE INDEX i ON w (a, b DESC)", []string{"a"}, "i", false, []KeyPart{builtin("a", "integer", "")}},
		{"an expression after it", "CREATE TABLE w (a int NOT NULL); CREATE INDEX i ON w (a, (a + 1))", []string{"a"}, "i", false, []KeyPart{builtin("a", "integer", "")}},
		{"narrowest unique index", "CREATE TABLE w (a text NOT NULL UNIQUE, b int NOT NULL, c int NOT NULL UNIQUE, UNIQUE (b, a))", nil, "w_c_key", true, []KeyPart{builtin("c", "integer", "")}},
		{"named over the primary key", "CREATE TABLE w (id int PRIMARY KEY, at date NOT NULL); CREATE INDEX i ON w (at)", []string{"at"}, "i", false, []KeyPart{builtin("at", "date", "")}},
		{"a longer key than what is unique", "CREATE TABLE w (id int PRIMARY KEY, at date NOT NULL); CREATE INDEX i ON w (at, id)", []string{"at", "id"}, "i", true, []KeyPart{builtin("at", "date", ""), builtin("id", "integer", "")}},
		{"exact unique index first", "CREATE TABLE w (id int NOT NULL); CREATE INDEX a ON w (id); CREATE UNIQUE INDEX b ON w (id)", []string{"id"}, "b", true, []KeyPart{builtin("id", "integer", "")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			db.Exec(c.ddl)
			table := mustLook(t, db, "w")
			key, err := table.ResolveKey(c.key)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.parts, key.Parts, cmpopts.IgnoreFields(KeyPart{}, "CollationVersion")); diff != "" {
				t.Errorf("parts (-want +got):\n%s", diff)
			}
			if key.Index == nil || key.Index.Name != c.index || key.Unique != c.unique {
				t.Errorf("index %+v, unique %v; want %s, %v", key.Index, key.Unique, c.index, c.unique)
			}
		})
	}
}

// The operators are those of the index's operator class, wherever they live.
func TestKeyOperators(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(`CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext;
		CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
		CREATE TABLE w (p varchar(9) NOT NULL, c ext.citext NOT NULL UNIQUE, n text COLLATE ci NOT NULL UNIQUE, t text NOT NULL UNIQUE);
		CREATE INDEX pattern ON w (p text_pattern_ops);
		CREATE INDEX other ON w (t COLLATE ci)`)
	table := mustLook(t, db, "w")
	for _, c := range []struct {
		column string
		want   KeyPart
	}{
		{"p", KeyPart{
			Name: "p", Type: "character varying(9)", Collation: `pg_catalog."default"`, Deterministic: true, Less: "pg_catalog.~<~",
			LessEqual: "pg_catalog.~<=~", Equal: "pg_catalog.=", GreaterEqual: "pg_catalog.~>=~", Greater: "pg_catalog.~>~",
		}},
		{"c", KeyPart{
			Name: "c", Type: "ext.citext", Collation: `pg_catalog."default"`, Deterministic: true, Less: "ext.<",
			LessEqual: "ext.<=", Equal: "ext.=", GreaterEqual: "ext.>=", Greater: "ext.>",
		}},
		{"n", KeyPart{
			Name: "n", Type: "text", Collation: "public.ci", Less: "pg_catalog.<",
			LessEqual: "pg_catalog.<=", Equal: "pg_catalog.=", GreaterEqual: "pg_catalog.>=", Greater: "pg_catalog.>",
		}},
	} {
		key, err := table.ResolveKey([]string{c.column})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]KeyPart{c.want}, key.Parts, cmpopts.IgnoreFields(KeyPart{}, "CollationVersion")); diff != "" {
			t.Errorf("key %s (-want +got):\n%s", c.column, diff)
		}
	}
	key, err := table.ResolveKey([]string{"t"})
	if err != nil || key.Index.Name != "w_t_key" || !key.Unique {
		t.Errorf("key t takes %+v, %v; want the unique index", key, err)
	}
}

// What is unique byte for byte is not unique to a collation that calls different bytes equal.
func TestKeyUniqueByTheWalksOwnCollation(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(`CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
		CREATE TABLE w (a text NOT NULL, k text COLLATE "C" NOT NULL);
		CREATE UNIQUE INDEX ON w (k, a);
		CREATE INDEX walked ON w (a COLLATE ci, k COLLATE ci)`)
	table := mustLook(t, db, "w")
	key, err := table.ResolveKey([]string{"a", "k"})
	if err != nil {
		t.Fatal(err)
	}
	if key.Index.Name != "walked" || key.Unique {
		t.Errorf("index %s, unique %v; want walked and not unique", key.Index.Name, key.Unique)
	}
}

// Indexes that cannot serve a walk are passed over, and the plan says why.
func TestKeyWithoutIndex(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, ddl, why string }{
		{"none", "", "no btree index begins with (k)"},
		{"expression", "CREATE INDEX i ON w ((k + 1))", "no btree index begins with (k)"},
		{"partial unique", "CREATE UNIQUE INDEX i ON w (k) WHERE k > 0", "partial"},
		{"hash", "CREATE INDEX i ON w USING hash (k)", "hash index"},
		{"nulls first", "CREATE INDEX i ON w (k NULLS FIRST)", "NULLs first"},
		{"second column", "CREATE INDEX i ON w (o, k)", "no btree index begins with (k)"},
		{"included", "CREATE INDEX i ON w (o) INCLUDE (k)", "no btree index begins with (k)"},
		{"invalid", "CREATE INDEX i ON w (k); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'i'::regclass", "invalid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			db.Exec("CREATE TABLE w (k int NOT NULL, o int); " + c.ddl)
			table := mustLook(t, db, "w")
			key, err := table.ResolveKey([]string{"k"})
			if err != nil {
				t.Fatal(err)
			}
			if key.Index != nil || key.Unique || !strings.Contains(key.NoIndex, c.why) {
				t.Errorf("index %v, unique %v, why not: %q; want none because of %q", key.Index, key.Unique, key.NoIndex, c.why)
			}
			if p := key.Parts[0]; p.Less != "pg_catalog.<" || p.Type != "integer" {
				t.Errorf("without an index the key is compared by %+v", p)
			}
			if _, err := table.ResolveKey(nil); err == nil {
				t.Error("a key was made up where the table has none")
			}
		})
	}
}

func TestKeyMixedDirections(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec("CREATE TABLE w (a int NOT NULL, b int NOT NULL); CREATE UNIQUE INDEX i ON w (a, b DESC)")
	table := mustLook(t, db, "w")
	key, err := table.ResolveKey([]string{"a", "b"})
	if err != nil || key.Index != nil || !strings.Contains(key.NoIndex, "mixes directions") {
		t.Errorf("key %+v, %v; want no index, because it mixes directions", key, err)
	}
	if !key.Unique {
		t.Error("the rows' keys are different, however the index runs")
	}
	if _, err := table.ResolveKey(nil); err == nil {
		t.Error("an index that no walk can follow was chosen")
	}
}

func TestKeyNullable(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec("CREATE TABLE w (a int NOT NULL, b int, UNIQUE (a, b))")
	table := mustLook(t, db, "w")
	key, err := table.ResolveKey([]string{"a", "b"})
	if err != nil || !key.Nullable() || key.Parts[0].Nullable || !key.Parts[1].Nullable || !key.Unique {
		t.Errorf("%+v, %v; want the second column nullable, and unique apart from NULLs", key, err)
	}
	_, err = table.ResolveKey(nil)
	problem(t, err, "no primary key", "key: a")
}

// A NOT NULL that was never validated, and one that the tables which inherit do not have, keep no key from being NULL.
//
// Made to fail: with attnotnull alone, both tables are walked by id, without the rows that have none.
func TestKeyNullableInSpiteOfNotNull(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec("CREATE TABLE late (id int UNIQUE); INSERT INTO late VALUES (1), (NULL)")
	validate := "ALTER TABLE late VALIDATE CONSTRAINT there"
	if pgtest.One[int](db, "SELECT current_setting('server_version_num')::int") >= 180000 {
		db.Exec("ALTER TABLE late ADD CONSTRAINT there NOT NULL id NOT VALID; CREATE TABLE above (id int UNIQUE, NOT NULL id NO INHERIT); CREATE TABLE below () INHERITS (above)")
	} else { // the first one as PostgreSQL 18 writes it down
		db.Exec(`SET allow_system_table_mods = on; ALTER TABLE late ADD CONSTRAINT there CHECK (id IS NOT NULL) NOT VALID;
			UPDATE pg_class SET relchecks = 0 WHERE oid = 'late'::regclass; UPDATE pg_constraint SET contype = 'n', conbin = NULL WHERE conname = 'there';
			UPDATE pg_attribute SET attnotnull = true WHERE attrelid = 'late'::regclass AND attname = 'id';
			CREATE TABLE above (id int NOT NULL UNIQUE); CREATE TABLE below () INHERITS (above); ALTER TABLE below ALTER id DROP NOT NULL`)
		validate = "SET allow_system_table_mods = on; UPDATE pg_constraint SET convalidated = true WHERE conname = 'there'"
	}
	for _, name := range []string{"late", "above"} {
		table := mustLook(t, db, name)
		if key, err := table.ResolveKey([]string{"id"}); err != nil || !key.Nullable() {
			t.Errorf("%s: the key is %+v, %v", name, key, err)
		}
		told := slices.ContainsFunc(table.Constraints, func(k Constraint) bool {
			return k.Kind == NotNull && k.Name == "there" && slices.Equal(k.Columns, []string{"id"}) && k.Definition == "NOT NULL id NOT VALID" && k.Enforced && !k.Validated
		})
		if told != (name == "late") {
			t.Errorf("%s: the constraints are %+v", name, table.Constraints)
		}
		if key, err := table.ResolveKey(nil); err == nil {
			t.Errorf("%s is walked by %+v without being told to", name, key.Parts)
		}
	}
	db.Exec("UPDATE late SET id = 2 WHERE id IS NULL; " + validate)
	table := mustLook(t, db, "late")
	if key, err := table.ResolveKey(nil); err != nil || key.Nullable() {
		t.Errorf("validated: the key is %+v, %v", key, err)
	}
}

func TestKeyProblems(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(`CREATE TABLE w (user_id int NOT NULL, doc json NOT NULL, spot point NOT NULL);
		CREATE TABLE bare (doc json);
		CREATE TABLE parted (id int PRIMARY KEY); CREATE TABLE child () INHERITS (parted);
		CREATE TABLE later (id int NOT NULL UNIQUE DEFERRABLE)`)
	table := mustLook(t, db, "w")
	_, err := table.ResolveKey(nil)
	problem(t, err, "public.w", "no primary key", "key: user_id", "CREATE INDEX CONCURRENTLY ON public.w (user_id)")
	_, err = table.ResolveKey([]string{"userid"})
	problem(t, err, "has no column userid", "did you mean user_id?")
	_, err = table.ResolveKey([]string{"zzzzzz"})
	problem(t, err, "has no column zzzzzz", "user_id, doc, spot")
	_, err = table.ResolveKey([]string{"user_id", "user_id"})
	problem(t, err, "twice")
	_, err = table.ResolveKey([]string{"doc"})
	problem(t, err, "type json", "no order", "key: user_id")
	_, err = table.ResolveKey([]string{"spot"})
	problem(t, err, "type point", "no order")

	bare := mustLook(t, db, "bare")
	_, err = bare.ResolveKey(nil)
	problem(t, err, "add a column")

	parted := mustLook(t, db, "parted")
	key, err := parted.ResolveKey(nil)
	if err != nil || key.Unique {
		t.Errorf("%+v, %v; the key says nothing about tables that inherit", key, err)
	}
	later := mustLook(t, db, "later")
	if _, err := later.ResolveKey(nil); err == nil {
		t.Error("a deferrable unique constraint was taken for a key")
	}
}
