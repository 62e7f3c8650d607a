package backfill

import (
	"context"
	"encoding/json"
	"fmt"
)

// TransformFunc computes what a job's transform writes, in a program that embeds the engine: Options.Transforms has
// it under the name that the job says (transform: {go: NAME}). It is called with some of a chunk's rows, by several
// workers at once, before the chunk before it is committed, and again with the same rows where a chunk has to be done again;
// so it must be of no consequence but what it returns.
//
// Each of in is a JSON object: the row's key and what the job reads, in the forms that package internal/rowjson lists
// and the manual repeats (bytea as base64, numbers with all their digits, times as of ISO 8601). As many results come
// back, in the same order. An error is for what has nothing to do with a row, as a service that is not there: the rows
// are tried again. ctx ends when the run is to stop, or after the time that timeouts.transform allows.
//
// [PerRow] makes one of a function of Go's own types.
type TransformFunc func(ctx context.Context, in []json.RawMessage) ([]TransformResult, error)

// TransformResult is what came of one row: exactly one of its fields is set.
type TransformResult struct {
	// JSON is an object with the members that the job's transform returns. The key may be left out.
	JSON json.RawMessage
	// Err says that this row cannot be done, and never will be.
	Err error
}

// PerRow makes a [TransformFunc] of a function from one row to its new values. In and Out are structs whose JSON form
// has the members that the job reads and returns, as in
//
//	type in struct {
//		ID  int64   `json:"id"`
//		SSN *string `json:"ssn"` // nil is NULL
//	}
//	type out struct {
//		Encrypted []byte `json:"ssn_encrypted"`
//	}
//
// An int64 takes a bigint, a [json.Number] a numeric with all its digits, []byte a bytea, a time.Time a timestamptz
// that is neither infinite nor before Christ. A row on which f returns an error cannot be done: the run stops there, or
// keeps the row aside, as the job's on_error says. Once ctx is done no row is blamed.
func PerRow[In, Out any](f func(ctx context.Context, row In) (Out, error)) TransformFunc {
	return func(ctx context.Context, in []json.RawMessage) ([]TransformResult, error) {
		results := make([]TransformResult, len(in))
		for i, line := range in {
			var row In
			if err := json.Unmarshal(line, &row); err != nil {
				return nil, fmt.Errorf("%w: reading a row into %T: %w", ErrProgramAnswer, row, err)
			}
			out, err := f(ctx, row)
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if results[i].Err = err; err != nil {
				continue
			}
			if results[i].JSON, err = json.Marshal(out); err != nil {
				return nil, fmt.Errorf("%w: writing %T: %w", ErrProgramAnswer, out, err)
			}
		}
		return results, nil
	}
}
