package main

import (
	"bytes"
	"encoding/json"
	"runtime/debug"
	"testing"
)

// Made to fail: without the replaced module; without the sums.
func TestWrite(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	err := write(&b, &debug.BuildInfo{GoVersion: "go1.26.1", Main: debug.Module{Path: "example.com/a", Version: "v1.0.0"}, Deps: []*debug.Module{
		{Path: "example.com/b", Version: "v1.2.3", Sum: "h1:AAEC"},
		{Path: "example.com/c", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/d", Version: "v2.0.0"}},
	}})
	var d document
	if err != nil || json.Unmarshal(b.Bytes(), &d) != nil {
		t.Fatalf("%v\n%s", err, &b)
	}
	if d.Format != "CycloneDX" || d.Metadata.Component.Name != "example.com/a" || len(d.Components) != 3 || d.Components[0].Version != "1.26.1" ||
		d.Components[1].PURL != "pkg:golang/example.com/b@v1.2.3" || d.Components[1].Properties[0].Value != "000102" || d.Components[2].Name != "example.com/d" {
		t.Errorf("%s", &b)
	}
}
