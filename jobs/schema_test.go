package jobs

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// schema makes the JSON Schema of the job file from the types that it is decoded into.
func schema(t *testing.T) string {
	t.Helper()
	comments := fieldComments(t)
	var r jsonschema.Reflector
	r = jsonschema.Reflector{
		Anonymous:      true,
		DoNotReference: true,
		Mapper: func(t reflect.Type) *jsonschema.Schema {
			if t == reflect.TypeFor[steps]() {
				one := r.ReflectFromType(reflect.TypeFor[step]())
				one.Version, one.OneOf = "", exactly("sql", "update", "delete")
				return &jsonschema.Schema{Type: "array", Items: one, MinItems: ptr(uint64(1))}
			}
			return leafSchema(t)
		},
		LookupComment: func(in reflect.Type, field string) string { return comments[in.Name()+"."+field] },
	}
	s := r.Reflect(file{})
	s.OneOf = exactly("update", "delete", "steps")
	s.Title = "pgbackfill job"
	s.Description = "A backfill: which rows of a table, and what happens to them. A file may hold several, as YAML documents."
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out) + "\n"
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
	case *tableName, *queryText:
		return sql
	case *walk:
		return &jsonschema.Schema{Type: "string", Enum: []any{"key", "heap", "auto"}}
	case *boolean:
		return yesNo
	case *onlyTrue:
		return &jsonschema.Schema{Type: "boolean", Const: true}
	case *count:
		return &jsonschema.Schema{Type: "integer", Minimum: one}
	case *duration:
		return &jsonschema.Schema{Type: "string", Pattern: `^\s*\+?([0-9.]+(ns|us|µs|ms|s|m|h))+\s*$`}
	case *rate:
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "number", ExclusiveMinimum: "0"}, {Type: "string"}}}
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
	golden(t, "schema.json", schema(t))
}

// What the parser accepts is valid by the schema, and what is wrong in form is not.
func TestSchemaSaysWhatTheParserSays(t *testing.T) {
	t.Parallel()
	doc, err := validator.UnmarshalJSON(strings.NewReader(schema(t)))
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
	for name, src := range files(t, "valid") {
		for _, job := range documents(t, src) {
			if err := compiled.Validate(job); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for name, src := range files(t, "invalid") {
		// The others are wrong in what the schema cannot say: SQL, names, YAML itself.
		switch strings.TrimSuffix(name, ".yaml") {
		case "structure", "missing", "missing-parts", "wrong-types", "list", "later-fields":
		default:
			if !strings.HasPrefix(name, "corpus-") {
				continue
			}
		}
		for _, job := range documents(t, src) {
			if compiled.Validate(job) == nil {
				t.Errorf("%s: valid by the schema", name)
			}
		}
	}
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
