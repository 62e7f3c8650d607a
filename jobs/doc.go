// Package jobs reads job files: YAML in, [backfill.Job]s out. It is the only package that
// knows YAML.
//
// It is strict. An unknown or repeated field, a wrong type, a missing part, SQL that is
// not exactly what belongs in its place is an error, and all errors of a file are given
// at once, in the order of the file, each with line and column, what was found, what was
// expected and what to do. A field that a later version will understand is refused, never
// ignored. The schema of the files, for editors, is schema.json.
package jobs
