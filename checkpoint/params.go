package checkpoint

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Parameters in PostgreSQL's text form, each read alike under any setting of the session.

func keyParam(k backfill.Key) []byte { return pgsql.TextArray(k) }

func intsParam[T ~int | ~int64](list []T) []byte {
	b := []byte{'{'}
	for i, n := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(n), 10)
	}
	return append(b, '}')
}

func timeParam(t time.Time) []byte {
	return t.UTC().AppendFormat(nil, "2006-01-02 15:04:05.999999Z07:00")
}

func durationParam(d time.Duration) []byte {
	return fmt.Appendf(nil, "%d microseconds", d.Microseconds())
}

func floatParam(f float64) []byte { return strconv.AppendFloat(nil, f, 'g', -1, 64) }

// jsonParam is v as JSON, without the escapes that are only for HTML.
func jsonParam(v any) ([]byte, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return []byte(strings.TrimSuffix(b.String(), "\n")), nil
}

// one reads a row of a single answer into dst.
func one(dst ...any) func(pgx.Rows) error {
	return func(rows pgx.Rows) error { return rows.Scan(dst...) }
}
