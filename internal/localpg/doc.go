// Package localpg starts throwaway PostgreSQL clusters on this machine: a primary, and streaming
// standbys of it, for the demo, the tests and the benchmarks.
//
// A cluster lives in one temporary directory, listens on 127.0.0.1 at a random port and on a Unix
// socket in that directory, and has a random superuser password. It can be stopped, killed the way a
// power cut kills (no process is given the chance to say goodbye), frozen, restarted on the same port
// and promoted.
//
//	cluster, err := localpg.Start(ctx, localpg.Options{})
//	if err != nil { … }
//	defer cluster.Close()
//	conn, err := pgx.Connect(ctx, cluster.DSN("postgres"))
//
// # Nothing stays behind
//
// [Cluster.Close] stops the server and removes the directory. Where it is never called (a panic,
// os.Exit, Ctrl-C, SIGKILL) a watchdog does the same within seconds; see watchdog.go for why it is a
// shell on a pipe. The package installs no signal handler, so it never changes what a signal does
// to the program; a main that handles signals defers [CloseAll].
//
// # Root
//
// PostgreSQL refuses to run as root. Started by root, the server runs as the user postgres, or else
// nobody, and its files belong to that user.
//
// # Durability
//
// By default fsync is off. Killing every process of a cluster, [Cluster.Kill], loses nothing that was
// committed even so: what was written is in the page cache of the operating system, which survives.
// Options.Durable is for measuring what fsync costs.
package localpg
