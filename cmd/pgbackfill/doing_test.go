package main

import (
	"errors"
	"testing"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/backfill/verify"
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

// Of several jobs, or passes, the gravest verdict is the exit code: 3 beats 4 beats 5, which is of rows that did not stand still and of nothing else.
//
// Made to fail: with what is unresolved taken for incomplete, and with the last verdict in the place of the gravest.
func TestTheGravestVerdictIsTheExitCode(t *testing.T) {
	t.Parallel()
	verdicts := map[int]error{}
	for code, v := range map[int]verify.Verdict{
		exitDone: {Result: verify.Proven}, exitMismatch: {Result: verify.Mismatched}, exitIncomplete: {Result: verify.Incomplete}, exitUnresolved: {Result: verify.Incomplete, Unresolved: true},
	} {
		if verdicts[code] = v.Err(); exitCode(verdicts[code]) != code {
			t.Errorf("%s, unresolved %t: exit code %d, want %d", v.Result, v.Unresolved, exitCode(verdicts[code]), code)
		}
	}
	order := []int{exitDone, exitUnresolved, exitIncomplete, exitMismatch}
	for i, a := range order {
		for j, b := range order {
			if got := exitCode(graver(verdicts[a], verdicts[b])); got != order[max(i, j)] {
				t.Errorf("of %d and %d it is %d", a, b, got)
			}
		}
	}
	if code := exitCode(errors.Join(&backfill.Error{Found: "it does not show the last chunk", Kind: verify.ErrUnresolved}, errSaid)); code != 5 {
		t.Errorf("of a standby that did not catch up: exit code %d", code)
	}
}

// What is offered next can be done: a job with nothing to verify by is not told to verify. Made to fail: with verify offered after every run.
func TestNextIsWhatCanBeDone(t *testing.T) {
	t.Parallel()
	job := backfill.Job{Idempotent: true, Steps: []backfill.Step{{Update: &backfill.Update{Set: []backfill.Assignment{{Column: "a", Value: backfill.Expr{SQL: "1"}}}}}}}
	if got := nextCommand(job, backfill.Summary{Job: "x"}, nil, "run", "x.yaml"); got != "pgbackfill verify x.yaml" {
		t.Error(got)
	}
	job.Idempotent = false
	if got := nextCommand(job, backfill.Summary{Job: "x"}, nil, "run", "x.yaml"); got != "pgbackfill status x" {
		t.Error(got)
	}
}
