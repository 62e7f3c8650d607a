package jobs

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// schema makes the JSON Schema of the job file from the types that it is decoded into; with everything, also of what
// this version does not carry out.
func schema(t *testing.T, everything bool) string {
	t.Helper()
	comments := fieldComments(t)
	var r jsonschema.Reflector
	r = jsonschema.Reflector{
		Anonymous:      true,
		DoNotReference: true,
		Mapper: func(t reflect.Type) *jsonschema.Schema {
			if s := groupSchema(&r, t); s != nil {
				return s
			}
			return leafSchema(t)
		},
		LookupComment: func(in reflect.Type, field string) string { return comments[in.Name()+"."+field] },
	}
	s := r.Reflect(file{})
	alone := &jsonschema.Schema{Required: []string{"transform"}, Not: &jsonschema.Schema{AnyOf: exactly("update", "delete", "steps")}}
	if s.OneOf = exactly("update", "delete", "steps"); everything || !slices.Contains(notYet, "transform") {
		s.OneOf = append(s.OneOf, alone)
	}
	for _, name := range notYet {
		if !everything {
			s.Properties.Delete(name)
		}
	}
	s.Title = "pgbackfill job"
	s.Description = "A backfill: which rows of a table, and what happens to them. A file may hold several, as YAML documents."
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out) + "\n"
}

// groupSchema is the schema of a leaf that has fields of its own.
func groupSchema(r *jsonschema.Reflector, t reflect.Type) *jsonschema.Schema {
	of := func(t reflect.Type, alternatives ...string) *jsonschema.Schema {
		s := r.ReflectFromType(t)
		s.Version = ""
		if len(alternatives) > 0 {
			s.OneOf = exactly(alternatives...)
		}
		return s
	}
	or := func(list ...*jsonschema.Schema) *jsonschema.Schema { return &jsonschema.Schema{OneOf: list} }
	listOf := func(s *jsonschema.Schema) *jsonschema.Schema {
		return &jsonschema.Schema{Type: "array", Items: s, MinItems: ptr(uint64(1))}
	}
	byName := func(names *jsonschema.Schema, s *jsonschema.Schema) *jsonschema.Schema {
		return &jsonschema.Schema{Type: "object", PropertyNames: names, AdditionalProperties: s, MinProperties: ptr(uint64(1))}
	}
	sql := &jsonschema.Schema{Type: "string", MinLength: ptr(uint64(1))}
	switch reflect.New(t).Interface().(type) {
	case *steps:
		return listOf(of(reflect.TypeFor[step](), "sql", "update", "delete"))
	case *params:
		return byName(&jsonschema.Schema{Pattern: paramName.String()}, or(leafSchema(reflect.TypeFor[constant]()), of(reflect.TypeFor[paramParts](), "value", "sql", "env")))
	case *helperTables:
		return byName(&jsonschema.Schema{Pattern: helperName.String()}, of(reflect.TypeFor[helperParts]()))
	case *script:
		return or(sql, of(reflect.TypeFor[scriptParts]()))
	case *expectedQuery:
		return or(sql, of(reflect.TypeFor[expectedParts]()))
	case *checks:
		one := of(reflect.TypeFor[check](), "expect", "expected", "none", "recompute")
		one.DependentRequired = map[string][]string{"expected": {"actual"}, "actual": {"expected"}, "in": {"expected"}}
		return or(one, listOf(one))
	case *undo:
		return or(&jsonschema.Schema{Const: "capture"}, of(reflect.TypeFor[undoParts](), "set", "none"))
	case *typed:
		return byName(nil, sql)
	case *words:
		return listOf(&jsonschema.Schema{Type: "string"})
	case *readItems:
		return listOf(sql)
	}
	return nil
}

// exactly is that one of the fields is there.
func exactly(names ...string) []*jsonschema.Schema {
	list := make([]*jsonschema.Schema, len(names))
	for i, name := range names {
		list[i] = &jsonschema.Schema{Required: []string{name}}
	}
	return list
}

// leafSchema is the schema of a leaf, which the decoder reads by itself.
func leafSchema(t reflect.Type) *jsonschema.Schema {
	one := json.Number("1")
	sql := &jsonschema.Schema{Type: "string", MinLength: ptr(uint64(1))}
	number, yesNo := &jsonschema.Schema{Type: "number"}, &jsonschema.Schema{Type: "boolean"}
	column := &jsonschema.Schema{Type: "string", MinLength: ptr(uint64(1)), MaxLength: ptr(uint64(63))}
	switch reflect.New(t).Interface().(type) {
	case *jobName:
		return &jsonschema.Schema{Type: "string", Pattern: namePattern.String()}
	case *text:
		return &jsonschema.Schema{Type: "string"}
	case *tableName, *queryText, *typeName:
		return sql
	case *constant:
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "string"}, number, yesNo, {Type: "null"}}}
	case *onError:
		return &jsonschema.Schema{Type: "string", Enum: []any{"quarantine", "fail"}}
	case *writer:
		return &jsonschema.Schema{Type: "string", Enum: []any{"application", "trigger"}}
	case *walk:
		return &jsonschema.Schema{Type: "string", Enum: []any{"key", "heap", "auto"}}
	case *boolean:
		return yesNo
	case *onlyTrue:
		return &jsonschema.Schema{Type: "boolean", Const: true}
	case *count, *fewest:
		return &jsonschema.Schema{Type: "integer", Minimum: one}
	case *span:
		return &jsonschema.Schema{Type: "string", Pattern: `^\s*(\+?([0-9.]+(ns|us|µs|ms|s|m|h))+|[0-9]+d)\s*$`}
	case *droppedColumns:
		return &jsonschema.Schema{Type: "array", Items: sql, MinItems: ptr(uint64(1))}
	case *duration:
		return &jsonschema.Schema{Type: "string", Pattern: `^\s*\+?([0-9.]+(ns|us|µs|ms|s|m|h))+\s*$`}
	case *rate:
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "number", ExclusiveMinimum: "0"}, {Type: "string"}}}
	case *limit:
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "string"}, number, {Type: "array"}}}
	case *columns:
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{column, {Type: "array", Items: column, MinItems: ptr(uint64(1)), UniqueItems: true}}}
	case *sqlText:
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{sql, yesNo}}
	case *assignments:
		value := &jsonschema.Schema{OneOf: []*jsonschema.Schema{sql, number, yesNo, {Type: "null"}}}
		return &jsonschema.Schema{Type: "object", PropertyNames: column, AdditionalProperties: value, MinProperties: ptr(uint64(1))}
	case *settings:
		value := &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "string"}, number, yesNo}}
		return &jsonschema.Schema{Type: "object", AdditionalProperties: value}
	}
	return nil
}

func ptr[T any](v T) *T { return &v }

// fieldComments are the comments of the fields in file.go, as "type.Field".
func fieldComments(t *testing.T) map[string]string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), "file.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	comments := map[string]string{}
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		body, ok := spec.Type.(*ast.StructType)
		if !ok {
			return true
		}
		for _, field := range body.Fields.List {
			if len(field.Names) == 0 {
				continue
			}
			text := strings.Join(strings.Fields(field.Doc.Text()), " ")
			if text == "" {
				t.Errorf("%s.%s has no comment", spec.Name, field.Names[0])
			}
			comments[spec.Name.Name+"."+field.Names[0].Name] = text
		}
		return true
	})
	return comments
}

func TestSchemaIsUpToDate(t *testing.T) {
	t.Parallel()
	golden(t, "schema.json", schema(t, false))
}

// What the parser accepts is valid by the schema, and what is wrong in form is not.
func TestSchemaSaysWhatTheParserSays(t *testing.T) {
	t.Parallel()
	now, all := compile(t, schema(t, false)), compile(t, schema(t, true))
	for folder, valid := range map[string]*validator.Schema{"valid": now, "later": all, "corpus": all} {
		for name, src := range files(t, folder) {
			for _, job := range documents(t, src) {
				if err := valid.Validate(job); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
	for name, src := range files(t, "invalid") {
		// The others are wrong in what the schema cannot say: SQL, names, YAML itself.
		switch strings.TrimSuffix(name, ".yaml") {
		case "structure", "missing", "missing-parts", "wrong-types", "list", "later-fields", "contract":
		default:
			continue
		}
		for _, job := range documents(t, src) {
			if now.Validate(job) == nil {
				t.Errorf("%s: valid by the schema", name)
			}
		}
	}
}

func compile(t *testing.T, schema string) *validator.Schema {
	t.Helper()
	doc, err := validator.UnmarshalJSON(strings.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := validator.NewCompiler()
	if err := c.AddResource("job.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("job.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

// documents are the documents of a file as a JSON validator takes them.
func documents(t *testing.T, src []byte) []any {
	t.Helper()
	var list []any
	dec := yaml.NewDecoder(strings.NewReader(string(src)))
	for {
		var n yaml.Node
		if dec.Decode(&n) != nil {
			return list
		}
		list = append(list, plainValue(t, n.Content[0]))
	}
}

// plainValue is a node as JSON has it. A repeated field, of which JSON knows nothing, is there once.
func plainValue(t *testing.T, n *yaml.Node) any {
	t.Helper()
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i < len(n.Content); i += 2 {
			m[n.Content[i].Value] = plainValue(t, n.Content[i+1])
		}
		return m
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, c := range n.Content {
			list[i] = plainValue(t, c)
		}
		return list
	}
	var v any
	if err := n.Decode(&v); err != nil {
		t.Fatal(err)
	}
	switch n.Tag {
	case "!!int", "!!float":
		return json.Number(strings.TrimPrefix(strings.ReplaceAll(n.Value, "_", ""), "+"))
	case "!!timestamp":
		return n.Value
	}
	return v
}
