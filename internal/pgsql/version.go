package pgsql

// MinMajor is the oldest major version of PostgreSQL that the statements here are for. This is the one place that says so;
// docs/postgresql-versions.md says what differs between those that are.
const MinMajor = 14
