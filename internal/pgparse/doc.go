// Package pgparse asks PostgreSQL's own parser what a fragment of SQL is: exactly one
// expression, exactly what may follow FROM, or a name. It is a leaf and needs no server.
//
// A fragment that is accepted can be put into a larger statement, in parentheses and
// with a line break after it, and stays what it was: it cannot close the parenthesis,
// end the statement, or swallow what follows. It is parsed twice for that, bare and in
// its place, and both must give the one tree: a bare fragment that closes a parenthesis
// it did not open is a syntax error, and one with a second column, an alias or a clause
// after it is a syntax error in parentheses.
//
// A line comment at the end of a fragment is accepted, for people write them; the line
// break after every fragment is what ends it.
//
// The parser is the one of PostgreSQL 17 (libpg_query), compiled from C where a C
// compiler is found and run as WebAssembly where none is; see docs/adr/0003.
package pgparse
