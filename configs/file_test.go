package configs_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/configs"
)

func TestFileComplaintsNameTheLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		parts      []string
	}{
		{"unknown key", "workers: 2\nchunk:\n  target: 1s\n  traget: 2s\n", []string{"pgbackfill.yaml:4: ", `unknown key "chunk.traget"`, "did you mean chunk.target?"}},
		{"unknown key like none", "colour: red\n", []string{":1: ", `unknown key "colour"`, "the keys are dsn, workers"}},
		{"other case", "Workers: 2\n", []string{`unknown key "Workers"`, "did you mean workers?"}},
		{"limit that is none", "rate: 5\nlag: {max: 3}\n", []string{":2: lag.max is \"3\"; expected a duration"}},
		{"standbys that are none", "lag:\n  ignore: [{name: x}]\n", []string{"lag.ignore is", "a list of names of standbys"}},
		{"key twice", "workers: 2\nrate: 5\nworkers: 3\n", []string{":3: workers stands here a second time", "line 1"}},
		{"quoted number", "workers: \"2\"\n", []string{":1: ", `workers is the text "2"`, "without quotes"}},
		{"fraction", "workers: 2.5\n", []string{`workers is "2.5"; expected a whole number`}},
		{"out of range", "workers: 1001\n", []string{`workers is "1001"`, "from 1 to 1000"}},
		{"duration without unit", "timeouts:\n  lock: 5\n", []string{":2: ", `timeouts.lock is "5"`, "with its unit"}},
		{"duration of nothing", "timeouts: {lock: 0s}\n", []string{`timeouts.lock is "0s"`}},
		{"list for a number", "rate: [1, 2]\n", []string{"rate is a list; expected rows a second"}},
		{"group for a value", "dsn: {host: x}\n", []string{"dsn is a group of keys; expected a connection string"}},
		{"value for a group", "chunk: 5000\n", []string{"chunk has a value of its own; expected rows, target, max_rows"}},
		{"list for the file", "- workers\n", []string{"the file is not a list of keys"}},
		{"alias", "rate: &r 5\nworkers: *r\n", []string{"workers is an alias"}},
		{"no number", "rate: .inf\n", []string{`rate is ".inf"`}},
		{"second document", "rate: 5\n---\nrate: 6\n", []string{"a second document; expected one document"}},
		{"not YAML", "rate: 5\n  workers: [\n", []string{"pgbackfill.yaml:2: this is not YAML"}},
		{"findings that are none", "accept: [Not An Id!]\n", []string{"accept is", "ids of findings"}},
		{"one finding without a list", "accept: trigger-fires\n", []string{"accept is not a list of words"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			m.write("work/pgbackfill.yaml", c.text)
			wants(t, m.fails(), c.parts...)
		})
	}
}

func TestFileThatSaysNothing(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "# nothing\n", "workers: null\nchunk:\nrate: ~\n", "---\n"} {
		m := newMachine(t)
		m.write("work/pgbackfill.yaml", text)
		unsaid := backfill.DefaultPace
		unsaid.Workers = 0 // the plan chooses
		if pace, _ := m.load().Resolve(backfill.Job{}); !reflect.DeepEqual(pace, unsaid) {
			t.Errorf("%q says %+v", text, pace)
		}
	}
}

// Every key is in default.yaml with a comment of its own, or it is one of a group of ceilings.
func TestDefaultFileDocumentsEveryKey(t *testing.T) {
	t.Parallel()
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(configs.Default), &root); err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	var read func(n *yaml.Node, prefix string, under bool)
	read = func(n *yaml.Node, prefix string, under bool) {
		for i := 0; i+1 < len(n.Content); i += 2 {
			k, v := n.Content[i], n.Content[i+1]
			has := k.HeadComment != "" || under
			if v.Kind == yaml.MappingNode {
				read(v, prefix+k.Value+".", prefix+k.Value == "ceilings" || strings.HasPrefix(prefix, "ceilings."))
				continue
			}
			documented[prefix+k.Value] = has
		}
	}
	read(root.Content[0], "", false)
	for _, name := range configs.Keys() {
		if !documented[name] {
			t.Errorf("%s is not in default.yaml with a comment", name)
		}
		delete(documented, name)
	}
	for name := range documented {
		t.Errorf("default.yaml has %s, which is no key", name)
	}
	if !slices.Contains(configs.Keys(), "ceilings.rate") {
		t.Error("the keys are not listed")
	}
}
