package main

import (
	"testing"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// A job that deletes is not called an update. Made to fail: with the word of the first step for all, or always "update".
func TestAPlanNamesWhatTheJobDoes(t *testing.T) {
	t.Parallel()
	update, remove, statement := backfill.Step{Update: &backfill.Update{}}, backfill.Step{Delete: true}, backfill.Step{SQL: &backfill.Command{}}
	for want, lists := range map[string][][]backfill.Step{
		"update":   {{update}, {update, update}, nil},
		"delete":   {{remove}},
		"backfill": {{statement}, {update, remove}, {remove, statement}},
	} {
		for _, steps := range lists {
			if got := doing(backfill.Job{Steps: steps}); got != want {
				t.Errorf("%+v is called %s, want %s", steps, got, want)
			}
		}
	}
}
