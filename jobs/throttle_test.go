package jobs

import (
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbackfill/pgbackfill/throttle"
)

// Every limit that there is can be said in a job file, under its own name.
//
// Made to fail: with a field of the file left out, or called otherwise.
func TestEveryLimitIsInTheFile(t *testing.T) {
	t.Parallel()
	names := []string{"window", "window_end"}
	eachLimit(reflect.ValueOf(throttling{}), "", func(name string, _ limit) { names = append(names, name) })
	var want []string
	for _, n := range throttle.Names() {
		want = append(want, n.Name)
	}
	slices.Sort(names)
	slices.Sort(want)
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
}
