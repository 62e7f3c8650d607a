package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/configs"
	"github.com/pgbackfill/pgbackfill/internal/catalog"
	"github.com/pgbackfill/pgbackfill/internal/eventlog"
	"github.com/pgbackfill/pgbackfill/internal/human"
	"github.com/pgbackfill/pgbackfill/internal/metrics"
	"github.com/pgbackfill/pgbackfill/jobs"
)

// app is the process: its streams, its version and, once a command has begun, its configuration.
type app struct {
	// args are those of the command line.
	args     []string
	in       *os.File
	out, err *os.File
	version  string
	// abort ends when begun chunks are to be cancelled.
	abort context.Context
	// cfg is set before a command runs.
	cfg configs.Config
	// standbys are those that are asked themselves how far they are, of the commands that heed it.
	standbys []configs.Standby
	// yes answers every question.
	yes bool
	// verb is the command that carries a plan out: "run" or "undo".
	verb string
	// output is "text" or "json".
	output string
	// warned counts what was warned of in job files.
	warned int
	// backupAt is when the last backup was made, where somebody said it.
	backupAt moment
	// lend is set for a command all of whose steps are about one server.
	lend *lender
	// metrics are those of the process; nil where nobody wants them.
	metrics *metrics.Metrics
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "pgbackfill",
		Short: "Changes hundreds of millions of rows of a live PostgreSQL table, and survives being killed",
		Long: `pgbackfill is the migrate phase of expand-contract: it fills what the expand migration added,
in small chunks that each happen exactly once, with replicas and application unharmed.

Start with: pgbackfill demo`,
		Version:       a.version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE:          group,
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			if !c.HasParent() {
				return nil // it only shows its help
			}
			var err error
			a.cfg, err = configs.Load(configs.Sources{Flags: c.Flags(), Environ: os.Environ()})
			if err == nil && c.Flags().Lookup("accept") != nil {
				err = knownFindings(a.cfg.Accept)
			}
			if err == nil && c.Flags().Lookup("set") != nil { // before anything is written
				a.standbys, err = configs.Standbys(a.cfg)
			}
			return err
		},
	}
	configs.Flags(root.PersistentFlags())
	root.PersistentFlags().BoolVar(&a.yes, "yes", false, "ask nothing, go on")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w: %w\n  → see: %s --help", errUsage, err, c.CommandPath())
	})
	root.AddCommand(a.demoCommand(), a.initCommand(), a.lintCommand(), a.planCommand(), a.runCommand(), a.retryQuarantinedCommand(), a.verifyCommand(), a.repairCommand(), a.statusCommand(), a.doctorCommand(),
		a.pauseCommand(), a.resumeCommand(), a.cancelCommand(), a.setCommand(), a.undoCommand(), a.reportCommand(), a.dualWriteCommand(), a.schemaCommand())
	root.AddCommand(a.tripwireCommand(), a.gateCommand())
	return root
}

// knownFindings refuses what is accepted and no finding is called: it would accept nothing.
func knownFindings(accepted []string) error {
	ids := backfill.FindingIDs()
	for _, id := range accepted {
		if slices.Contains(ids, id) {
			continue
		}
		e := &backfill.Error{Place: "accept", Found: fmt.Sprintf("no finding has the id %q", id), Expected: "one of " + strings.Join(ids, ", "), Kind: backfill.ErrInput}
		if near := catalog.Similar(id, ids); len(near) > 0 {
			e.Expected, e.Remedy = "", "did you mean "+strings.Join(near, " or ")+"?"
		}
		return e
	}
	return nil
}

// args is a cobra argument check whose error says what was expected.
func args(least, most int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, given []string) error {
		if len(given) >= least && (most < 0 || len(given) <= most) {
			return nil
		}
		return fmt.Errorf("%w: %s takes %s; found %s\n  → see: %s --help",
			errUsage, c.CommandPath(), what, human.Plural(int64(len(given)), "argument"), c.CommandPath())
	}
}

// group is what a command does that only has commands under it: it shows them, or says that the
// one asked for is not among them.
func group(c *cobra.Command, given []string) error {
	if len(given) == 0 {
		return c.Help()
	}
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	remedy := "see: " + c.CommandPath() + " --help"
	if near := catalog.Similar(given[0], names); len(near) > 0 {
		remedy = "did you mean: " + c.CommandPath() + " " + near[0]
	}
	return fmt.Errorf("%w: %s has no command %q; expected one of %s\n  → %s", errUsage, c.CommandPath(), given[0], strings.Join(names, ", "), remedy)
}

// jsonFlag defines -o.
func (a *app) jsonFlag(c *cobra.Command) *cobra.Command {
	c.Flags().StringVarP(&a.output, "output", "o", "text", "text or json")
	run := c.RunE
	c.RunE = func(c *cobra.Command, given []string) error {
		if a.output != "text" && a.output != "json" {
			return fmt.Errorf("%w: -o %s; expected text or json", errUsage, a.output)
		}
		return run(c, given)
	}
	return c
}

// connect makes a connection to the primary.
func (a *app) connect() (backfill.Connect, error) {
	return configs.Connector(a.cfg)
}

// connected calls f with a connection and closes it.
func (a *app) connected(ctx context.Context, f func(*pgx.Conn) error) error {
	connect, err := a.connect()
	if err != nil {
		return err
	}
	conn, err := connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return f(conn)
}

// stored calls f with the store of the database and closes it.
func (a *app) stored(ctx context.Context, f func(*checkpoint.Store) error) error {
	connect, err := a.connect()
	if err != nil {
		return err
	}
	store, err := a.open(ctx, connect)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close(context.WithoutCancel(ctx)) }() // what it was for is done, or has failed already
	return f(store)
}

// looked calls f with the store of the database to read from, which may be a standby's, and closes it.
func (a *app) looked(ctx context.Context, f func(*checkpoint.Store) error) error {
	connect, err := configs.ReadingConnector(a.cfg, sync.OnceFunc(func() { a.note("note", "this is a standby: it shows what it has replayed") }))
	if err != nil {
		return err
	}
	store, err := checkpoint.Open(ctx, connect, checkpoint.Options{Version: a.version, Who: who(), ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = store.Close(context.WithoutCancel(ctx)) }() // nothing was written
	return f(store)
}

// neverRun is the error of a command about a job where nothing of ours is in the database, so that no job was run in it:
// installing the schema would not help. Other errors stay as they are.
func neverRun(job string, err error) error {
	if !notFound(err) {
		return err
	}
	return &backfill.Error{
		Place: "job " + job, Found: "it was never run in this database: there are no runs at all",
		Remedy: "check that it is the right database; start a run with: pgbackfill run FILE", Kind: backfill.ErrInput,
	}
}

func (a *app) open(ctx context.Context, connect backfill.Connect) (*checkpoint.Store, error) {
	return checkpoint.Open(ctx, connect, a.opening())
}

// opening says who opens a store.
func (a *app) opening() checkpoint.Options {
	return checkpoint.Options{Version: a.version, Who: who()}
}

// who is the person at this process, for people: "ann@laptop".
func who() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		return name
	}
	return name + "@" + host
}

// interactive reports whether somebody sits at the terminal who can answer.
func (a *app) interactive() bool {
	return term.IsTerminal(int(a.in.Fd())) && term.IsTerminal(int(a.err.Fd()))
}

// ask asks a question whose answer is no unless it is yes. Where nobody can answer, the
// answer is yes: what must not go on without a person is an error and not a question.
func (a *app) ask(question string) bool {
	if a.yes || !a.interactive() {
		return true
	}
	fmt.Fprintf(a.err, "%s [y/N] ", question)
	line, err := bufio.NewReader(a.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false
	}
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes"
}

// read reads a job file and says what in it may not be what was meant.
func (a *app) read(file string) ([]backfill.Job, error) {
	list, err := jobs.ReadFile(file)
	for _, job := range list {
		for _, warning := range jobs.Warnings(job) {
			a.warned++
			a.note("warning", warning)
		}
	}
	return list, err
}

// logger is the log of the process on w.
func (a *app) logger(w io.Writer) (zerolog.Logger, error) {
	return eventlog.New(w, a.cfg.Log.Format, a.cfg.Log.Level)
}
