package pgsql

import (
	"fmt"
	"strings"
)

// Sample is which rows of the walked table are looked at: those whose key falls, by a hash with this seed, into a part of a
// million. Each key is in it or not whatever its neighbours are, which is what a bound on the whole rests on.
type Sample struct {
	Seed  int64
	Parts int
}

// where is the sample as a predicate over t.
func (s Sample) where(b *Binder, key []KeyColumn) string {
	return fmt.Sprintf(`((pg_catalog.hashtextextended(ROW(%s)::pg_catalog.text COLLATE "pg_catalog"."C", %s::pg_catalog.int8)
       OPERATOR(pg_catalog.&) 9223372036854775807) OPERATOR(pg_catalog.%%) 1000000) OPERATOR(pg_catalog.<) %s::pg_catalog.int8`,
		strings.Join(keyColumns(key, "t"), ", "), b.Bind("seed", Int(s.Seed)), b.Bind("parts", Int(s.Parts)))
}
