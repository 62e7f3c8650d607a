package configs

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// Default is the built-in configuration: every key with its meaning and its value.
//
//go:embed default.yaml
var Default string

// builtIn is the origin of the values in Default.
const builtIn = "the built-in default"

// reader collects what a file says and everything that is wrong with it.
type reader struct {
	file string
	says layer
	errs []error
}

// readFile reads a configuration file.
func readFile(path string) (layer, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return layer{}, &backfill.Error{
			Place: path, Found: "the configuration file cannot be read", Err: unpath(err),
			Remedy: "name another with --config, or mend its permissions", Kind: backfill.ErrInput,
		}
	}
	return parseFile(path, text)
}

// unpath takes the path off an error that is shown behind it.
func unpath(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// parseFile reads the text of a configuration file. All its errors are returned at once.
func parseFile(file string, text []byte) (layer, error) {
	r := reader{file: file, says: newLayer()}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return r.says, nil // an empty file says nothing
	case err != nil:
		return layer{}, r.syntax(err)
	}
	r.mapping(document.Content[0], "")
	switch err := decoder.Decode(&second); {
	case err == nil:
		r.wrong(&second, "a second document", "one document; leave out the line ---")
	case !errors.Is(err, io.EOF):
		r.errs = append(r.errs, r.syntax(err))
	}
	return r.says, errors.Join(r.errs...)
}

var yamlLine = regexp.MustCompile(`^yaml: line ([0-9]+): (.*)$`)

// syntax turns an error of the YAML parser into one with the file and the line first.
func (r *reader) syntax(err error) error {
	place, found := r.file, strings.TrimPrefix(err.Error(), "yaml: ")
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		place, found = r.file+":"+m[1], m[2]
	}
	return &backfill.Error{Place: place, Found: "this is not YAML: " + found, Kind: backfill.ErrInput}
}

func (r *reader) place(n *yaml.Node) string { return fmt.Sprintf("%s:%d", r.file, n.Line) }

func (r *reader) wrong(n *yaml.Node, found, expected string) {
	r.errs = append(r.errs, &backfill.Error{Place: r.place(n), Found: found, Expected: expected, Kind: backfill.ErrInput})
}

// mapping reads the keys under a prefix: "" or "chunk.".
func (r *reader) mapping(n *yaml.Node, prefix string) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		found := "the file is not a list of keys"
		if prefix != "" {
			found = strings.TrimSuffix(prefix, ".") + " has a value of its own"
		}
		r.wrong(n, found, strings.Join(keysUnder(prefix), ", ")+" under it")
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		path := prefix + name.Value
		if line, twice := seen[name.Value]; twice {
			r.wrong(name, fmt.Sprintf("%s stands here a second time", path), fmt.Sprintf("it once; the first is on line %d", line))
			continue
		}
		seen[name.Value] = name.Line
		k, known := findKey(path)
		switch {
		case known:
			r.value(k, value)
		case isGroup(path):
			r.mapping(value, path+".")
		default:
			r.errs = append(r.errs, unknown(r.place(name), path, keysUnder(""), func(s string) string { return s }))
		}
	}
}

// keysUnder are the keys that begin with prefix.
func keysUnder(prefix string) []string {
	var names []string
	for _, k := range keys {
		if strings.HasPrefix(k.name, prefix) {
			names = append(names, strings.TrimPrefix(k.name, prefix))
		}
	}
	return names
}

func (r *reader) value(k key, n *yaml.Node) {
	quoted := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
	case k.kind.node != nil:
		k.kind.node(r, k, n)
	case k.kind.list:
		r.list(k, n)
	case k.kind.json && n.Kind != yaml.ScalarNode:
		text, err := asJSON(n)
		if err == nil {
			err = r.says.say(k, text, r.place(n))
		}
		if err != nil {
			r.errs = append(r.errs, err)
		}
	case n.Kind != yaml.ScalarNode:
		r.wrong(n, k.name+" is "+shape(n), k.kind.expected)
	case k.kind.number && quoted:
		r.wrong(n, fmt.Sprintf("%s is the text %q", k.name, n.Value), k.kind.expected+", without quotes")
	default:
		if err := r.says.say(k, n.Value, r.place(n)); err != nil {
			r.errs = append(r.errs, err)
		}
	}
}

func (r *reader) list(k key, n *yaml.Node) {
	if n.Kind != yaml.SequenceNode || slices.ContainsFunc(n.Content, func(c *yaml.Node) bool { return c.Kind != yaml.ScalarNode }) {
		r.wrong(n, k.name+" is not a list of words", k.kind.expected)
		return
	}
	var items []string
	for _, item := range n.Content {
		items = append(items, item.Value)
	}
	if err := r.says.say(k, strings.Join(items, ","), r.place(n)); err != nil {
		r.errs = append(r.errs, err)
	}
}

func shape(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	case yaml.ScalarNode:
		return "a single value"
	}
	return "a group of keys"
}
