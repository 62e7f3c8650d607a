// Package verify proves what a run did: it reads every row again and says proven, mismatched or incomplete.
//
// What is compared are [Check]s: those that the job names, or the one that follows from its step. A check is asked
// over ranges of keys that tile the whole key space, first and last open, and the rows with a NULL in the key; so
// rows are seen that were deleted, or inserted beyond the last key that anybody walked. Each range is seen as of one
// moment, by a transaction that cannot write. What could not be read is said and is never a pass.
package verify
