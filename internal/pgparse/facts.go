package pgparse

import (
	"cmp"
	"slices"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Facts is what the parser saw in a fragment.
type Facts struct {
	// Subquery is set where the fragment holds a SELECT or VALUES.
	Subquery bool
	// Functions are the functions called, without schema, as PostgreSQL folds their names,
	// each once, in the order of the text. CURRENT_TIMESTAMP and its like are among them,
	// in lower case; COALESCE, CASE and casts are not functions to the parser.
	Functions []string
	// Columns are the column references, folded and dotted ("t.full_name", "id", "u.*"),
	// each once, in the order of the text.
	Columns []string
	// Aliases are the names under which what [From] was given can be referred to.
	Aliases []Alias
}

// Alias is a name that a from-item goes by.
type Alias struct {
	Name string
	// Offset is where the item begins in the fragment.
	Offset int
}

// word is something found at a place.
type word struct {
	text string
	at   int32
}

// collector gathers facts from a tree.
type collector struct {
	functions, columns []word
	subquery           bool
}

func (c *collector) visit(m proto.Message) {
	switch n := m.(type) {
	case *pg_query.SelectStmt:
		c.subquery = true
	case *pg_query.FuncCall:
		c.functions = append(c.functions, word{lastName(n.GetFuncname()), n.GetLocation()})
	case *pg_query.SQLValueFunction:
		name := strings.TrimSuffix(strings.TrimPrefix(n.GetOp().String(), "SVFOP_"), "_N")
		c.functions = append(c.functions, word{strings.ToLower(name), n.GetLocation()})
	case *pg_query.ColumnRef:
		c.columns = append(c.columns, word{dotted(n.GetFields()), n.GetLocation()})
	}
}

func (c *collector) facts() Facts {
	return Facts{Subquery: c.subquery, Functions: inOrder(c.functions), Columns: inOrder(c.columns)}
}

// inOrder is each word once, in the order of the text.
func inOrder(words []word) []string {
	slices.SortFunc(words, func(a, b word) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.text, b.text))
	})
	var list []string
	for _, w := range words {
		if !slices.Contains(list, w.text) {
			list = append(list, w.text)
		}
	}
	return list
}

// walk calls visit for every node under m, m included, and goes on below a node while
// visit returns true. The order is not that of the text.
func walk(m protoreflect.Message, visit func(proto.Message) bool) {
	if !visit(m.Interface()) {
		return
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if fd.Kind() != protoreflect.MessageKind {
			return true
		}
		if !fd.IsList() {
			walk(v.Message(), visit)
			return true
		}
		for i := range v.List().Len() {
			walk(v.List().Get(i).Message(), visit)
		}
		return true
	})
}

// placeless is a copy of a tree without the places its nodes came from.
func placeless(m proto.Message) proto.Message {
	c := proto.Clone(m)
	walk(c.ProtoReflect(), func(n proto.Message) bool {
		r := n.ProtoReflect()
		fields := r.Descriptor().Fields()
		for i := range fields.Len() {
			if fd := fields.Get(i); strings.HasSuffix(string(fd.Name()), "location") {
				r.Clear(fd)
			}
		}
		return true
	})
	return c
}

// dotted joins the parts of a name; a * stays one.
func dotted(fields []*pg_query.Node) string {
	parts := make([]string, len(fields))
	for i, f := range fields {
		if parts[i] = f.GetString_().GetSval(); f.GetAStar() != nil {
			parts[i] = "*"
		}
	}
	return strings.Join(parts, ".")
}

func lastName(fields []*pg_query.Node) string {
	if len(fields) == 0 {
		return ""
	}
	return fields[len(fields)-1].GetString_().GetSval()
}
