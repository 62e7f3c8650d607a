package checkpoint

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// described is all that the server says of the schema, a line for each thing: whatever a migration can make or change there.
const described = `WITH ns AS (SELECT oid FROM pg_namespace WHERE nspname = 'pgbackfill'), rels AS (SELECT c.* FROM pg_class AS c, ns WHERE c.relnamespace = ns.oid)
SELECT line FROM (
  SELECT concat_ws(' ', 'relation', relkind, relname, COALESCE(relacl::text, 'default'), reloptions::text, relrowsecurity, obj_description(oid, 'pg_class')) AS line FROM rels
  UNION ALL SELECT concat_ws(' ', 'column', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated, a.attstorage, a.attacl::text, (SELECT collname FROM pg_collation WHERE oid = a.attcollation),
      pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)) FROM rels AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
  UNION ALL SELECT concat_ws(' ', 'constraint', c.relname, k.conname, pg_get_constraintdef(k.oid), k.convalidated, obj_description(k.oid, 'pg_constraint')) FROM rels AS c JOIN pg_constraint AS k ON k.conrelid = c.oid
  UNION ALL SELECT concat_ws(' ', 'index', pg_get_indexdef(c.oid)) FROM rels AS c WHERE c.relkind = 'i'
  UNION ALL SELECT concat_ws(' ', 'trigger', pg_get_triggerdef(t.oid), t.tgenabled) FROM rels AS c JOIN pg_trigger AS t ON t.tgrelid = c.oid AND NOT t.tgisinternal
  UNION ALL SELECT concat_ws(' ', 'function', pg_get_functiondef(p.oid), COALESCE(p.proacl::text, 'default'), obj_description(p.oid, 'pg_proc')) FROM pg_proc AS p, ns WHERE p.pronamespace = ns.oid
  UNION ALL SELECT concat_ws(' ', 'type', t.typname, t.typtype, obj_description(t.oid, 'pg_type')) FROM pg_type AS t, ns WHERE t.typnamespace = ns.oid
) AS lines ORDER BY line COLLATE "C"`

// Each migration's way down takes back all that its way up has made or changed, and nothing else.
//
// Made to fail: without the older functions, or comments, in the way down of version 11.
func TestEachMigrationIsTakenBackWhole(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(createSchema + ";" + file(files, "migrations/bootstrap.sql"))
	for _, m := range migrations {
		before := pgtest.All[string](db, described)
		db.Exec(m.up)
		if made := pgtest.All[string](db, described); cmp.Equal(before, made) {
			t.Errorf("version %d changes nothing that is looked at", m.version)
		}
		db.Exec(m.down)
		if diff := cmp.Diff(strings.Join(before, "\n"), strings.Join(pgtest.All[string](db, described), "\n")); diff != "" {
			t.Errorf("version %d, %s, up and down again:\n%s", m.version, m.name, diff)
		}
		db.Exec(m.up)
	}
}
