package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// result is what one part of the benchmark found, on one table.
type result struct {
	Part    string  `json:"part"`
	Table   string  `json:"table,omitempty"`
	Machine machine `json:"machine"`
	Command string  `json:"command"`
	Rows    int     `json:"rows,omitempty"`
	// RowBytes is how much of the table a row takes.
	RowBytes int   `json:"row_bytes,omitempty"`
	Seed     int64 `json:"seed"`
	Rounds   int   `json:"rounds"`
	// Settings are those that the server had for this table.
	Settings map[string]string `json:"settings,omitempty"`
	// Missing is what could not be measured, or not as it is meant, and why.
	Missing []string `json:"missing,omitempty"`
	// Notes are what the numbers say.
	Notes        []string      `json:"notes,omitempty"`
	Ways         []way         `json:"ways,omitempty"`
	Start        *starting     `json:"start,omitempty"`
	Foreground   []disturbance `json:"foreground,omitempty"`
	Tripwire     []wiring      `json:"tripwire,omitempty"`
	Targets      []target      `json:"targets,omitempty"`
	Measurements []measurement `json:"measurements,omitempty"`
}

// name is by what a result is kept.
func (r *result) name() string {
	if partNamed(r.Part).tabled {
		return r.Part + "-" + r.Table
	}
	return r.Part
}

// way is the one of a name; the second is false where it was not measured.
func (r *result) way(name string) (way, bool) {
	i := slices.IndexFunc(r.Ways, func(w way) bool { return w.Name == name })
	if i < 0 {
		return way{}, false
	}
	return r.Ways[i], true
}

// save keeps a result in a folder, in a file of its own.
func (r *result) save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, r.name()+".json"), append(text, '\n'), 0o644)
}

// load reads the results that are kept in a folder, in the order of the parts and the tables.
func load(dir string) ([]*result, error) {
	var list []*result
	read := func(part, table string) error {
		r := &result{Part: part, Table: table}
		path := filepath.Join(dir, r.name()+".json")
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		*r = result{}
		if err := json.Unmarshal(text, r); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		list = append(list, r)
		return nil
	}
	for _, p := range parts() {
		names := []string{""}
		if p.tabled {
			names = nil
			for _, t := range tables() {
				names = append(names, t.name)
			}
		}
		for _, table := range names {
			if err := read(p.name, table); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}
