package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/jackc/pgx/v5"
	"go.yaml.in/yaml/v3"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/catalog"
	"github.com/pgbackfill/pgbackfill/internal/human"
	"github.com/pgbackfill/pgbackfill/internal/pgparse"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Init writes a job file for a live table, named as SQL names it: what the table is like
// as comments, and an update that changes nothing until somebody edits it. It reads
// catalogues only. A table that is not there, or is no table, is an ErrInput.
func Init(ctx context.Context, conn *pgx.Conn, table string) ([]byte, error) {
	parts, err := pgparse.Name(table)
	if err != nil {
		var e *pgparse.Error
		errors.As(err, &e)
		return nil, &backfill.Error{Place: "table " + table, Found: e.Found, Expected: e.Expected, Remedy: e.Remedy, Kind: backfill.ErrInput}
	}
	schema, name := "", parts[len(parts)-1]
	if len(parts) == 2 {
		schema = parts[0]
	}
	var shape catalog.Table
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		server, err := catalog.ReadServer(ctx, tx.Conn())
		if err == nil {
			shape, err = catalog.ReadTable(ctx, tx.Conn(), server, schema, name)
		}
		return err
	})
	var p *catalog.Problem
	switch {
	case errors.As(err, &p):
		return nil, &backfill.Error{Place: "table " + table, Found: p.Found, Expected: p.Expected, Remedy: p.Remedy, Kind: backfill.ErrInput}
	case err != nil:
		return nil, fmt.Errorf("reading the table %s: %w", table, err)
	}
	return draft(&shape)
}

// draft is a job file for a table of that shape.
func draft(t *catalog.Table) ([]byte, error) {
	key, noKey := t.ResolveKey(nil)
	var keyed []string
	for _, p := range key.Parts {
		keyed = append(keyed, p.Name)
	}
	target := plausible(t, keyed)
	if target == nil {
		return nil, &backfill.Error{
			Place: "table " + t.Quoted, Found: "no column outside the key that can be written", Expected: "a column to fill",
			Remedy: "add the new column first: ALTER TABLE " + t.Quoted + " ADD COLUMN …", Kind: backfill.ErrInput,
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# A backfill of %s, as `pgbackfill init` found it. Edit `set`, then try lint, plan and run.\n#\n", comment(t.Quoted))
	describeTable(&b, t, keyed)
	column := "t." + columnSQL(target.Name)
	fmt.Fprintf(&b, "name: %s\n", scalar(draftName(t.Name, target.Name)))
	fmt.Fprintf(&b, "table: %s\n", scalar(t.Quoted))
	describeKey(&b, key, noKey)
	if !target.NotNull {
		fmt.Fprintf(&b, "# The rows to change, as SQL over the row t. Without it, all of them:\n# where: %s\n", scalar(column+" IS NULL"))
	}
	b.WriteString("update:\n  set:\n")
	b.WriteString("    # EDIT: the new value, as SQL over the row t, such as lower(t.email). As it stands lint refuses it.\n")
	fmt.Fprintf(&b, "    %s: %s\n", scalar(target.Name), scalar(column))
	return []byte(b.String()), nil
}

// plausible is the column that somebody may want to fill: the newest that holds nothing
// but NULL, else the newest nullable one, else the newest that may be written at all.
func plausible(t *catalog.Table, key []string) *catalog.Column {
	var list []*catalog.Column
	for i := range t.Columns {
		c := &t.Columns[i]
		if !c.Generated && !c.IdentityAlways && !slices.Contains(key, c.Name) && !slices.Contains(t.PartitionKey, c.Name) {
			list = append(list, c)
		}
	}
	rank := func(c *catalog.Column) int {
		switch {
		case c.NotNull:
			return 0
		case c.NullFraction < 1:
			return 1
		}
		return 2
	}
	if len(list) == 0 {
		return nil
	}
	return slices.MaxFunc(list, func(a, b *catalog.Column) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Number, b.Number))
	})
}

// describeTable writes what the table is like, as comments.
func describeTable(b *strings.Builder, t *catalog.Table, key []string) {
	rows := "rows not counted yet (ANALYZE would)"
	if t.Rows >= 0 {
		rows = "about " + human.Plural(int64(t.Rows), "row")
	}
	fmt.Fprintf(b, "# %s, %s, indexes %s", rows, human.Bytes(t.Bytes), human.Bytes(t.IndexBytes))
	if t.Partitioned {
		fmt.Fprintf(b, ", %s", human.Plural(int64(len(t.Partitions)), "partition"))
	}
	b.WriteString("\n#\n# columns:\n")
	w := tabwriter.NewWriter(b, 0, 1, 2, ' ', 0)
	for _, c := range t.Columns {
		fmt.Fprintf(w, "#   %s\t%s\t%s\n", comment(c.Name), comment(c.Type), comment(strings.Join(traits(c, key), ", ")))
	}
	if len(t.Indexes) > 0 {
		fmt.Fprint(w, "# indexes:\n")
	}
	for _, x := range t.Indexes {
		_, on, _ := strings.Cut(x.Definition, " USING ")
		kind := ""
		switch {
		case !x.Valid:
			kind = "not valid"
		case x.Primary:
			kind = "primary key"
		case x.Unique:
			kind = "unique"
		}
		fmt.Fprintf(w, "#   %s\t%s\t%s\n", comment(x.Name), comment(on), kind)
	}
	fired := slices.DeleteFunc(slices.Clone(t.Triggers), func(g catalog.Trigger) bool { return !g.OnUpdate || !g.Enabled })
	if len(fired) > 0 {
		fmt.Fprint(w, "# triggers that an update fires:\n")
	}
	for _, g := range fired {
		fmt.Fprintf(w, "#   %s\t%s\n", comment(g.Name), comment(g.Function))
	}
	_ = w.Flush() // a strings.Builder never fails
	b.WriteString("\n")
	trimmed := trailingSpace.ReplaceAllString(b.String(), "\n")
	b.Reset()
	b.WriteString(trimmed)
}

var trailingSpace = regexp.MustCompile(` +\n`)

// traits are what one should know of a column before writing to it.
func traits(c catalog.Column, key []string) []string {
	var list []string
	if slices.Contains(key, c.Name) {
		list = append(list, "key")
	}
	if c.NotNull {
		list = append(list, "not null")
	}
	switch {
	case c.Generated:
		list = append(list, "generated")
	case c.Identity || c.IdentityAlways:
		list = append(list, "identity")
	case c.Default != "":
		list = append(list, "default "+c.Default)
	}
	if c.NullFraction > 0 {
		list = append(list, human.Percent(c.NullFraction)+" null")
	}
	return list
}

// describeKey writes what the table would be walked by, and what else it could be.
func describeKey(b *strings.Builder, key catalog.Key, noKey error) {
	var p *catalog.Problem
	if errors.As(noKey, &p) {
		fmt.Fprintf(b, "# Walked in physical order: %s.\n# To walk it by a column instead, %s\n# key: [column]\n", comment(p.Found), comment(p.Remedy))
		return
	}
	names := make([]string, len(key.Parts))
	for i, part := range key.Parts {
		names[i] = scalar(part.Name)
	}
	fmt.Fprintf(b, "# Walked by %s. Another key would be said here:\n# key: [%s]\n", comment(key.Reason), strings.Join(names, ", "))
}

var notInName = regexp.MustCompile(`[^a-z0-9_-]+`)

// draftName is a job's name made of the table's and the column's.
func draftName(table, column string) string {
	name := strings.ReplaceAll(strings.ToLower(table+"-"+column), "_", "-")
	name = strings.Trim(notInName.ReplaceAllString(name, "-"), "-_")
	name = strings.TrimRight(name[:min(len(name), 63)], "-_")
	return cmp.Or(name, "backfill")
}

// columnSQL is a column's name behind a dot, quoted where SQL needs it.
func columnSQL(name string) string {
	parts, err := pgparse.Columns("t." + name)
	if err == nil && len(parts) == 1 && slices.Equal(parts[0], []string{"t", name}) {
		return name
	}
	return pgsql.Ident(name)
}

// scalar is a YAML scalar, quoted where YAML needs it, in one line.
func scalar(s string) string {
	node := yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	if strings.ContainsFunc(s, unicode.IsControl) || strings.ContainsAny(s, "\u2028\u2029") {
		node.Style = yaml.DoubleQuotedStyle
	}
	out, err := yaml.Marshal(&node)
	if err != nil {
		panic(err) // a scalar of text always marshals
	}
	return strings.TrimSuffix(string(out), "\n")
}

// comment is text for a comment, which must stay in its line.
func comment(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || c == '\u2028' || c == '\u2029' {
			return ' '
		}
		return c
	}, s)
}
