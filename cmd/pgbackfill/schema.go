package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/configs"
	"github.com/pgbackfill/pgbackfill/internal/human"
)

func (a *app) schemaCommand() *cobra.Command {
	c := &cobra.Command{Use: "schema", Short: "The engine's own tables: install, upgrade, remove, or print them and their grants", Args: cobra.ArbitraryArgs, RunE: group}
	var runner string
	sql := &cobra.Command{
		Use: "sql", Short: "Prints the schema for your own migration tool", Args: args(0, 0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			if err := checkpoint.SQL(a.out, a.version); err != nil {
				return err
			}
			if runner != "" {
				fmt.Fprintln(a.out, checkpoint.Grants(runner))
			}
			return nil
		},
	}
	sql.Flags().StringVar(&runner, "runner", "", "print after it what this role needs in order to run jobs")
	var installer, verifier, viewer bool
	grants := &cobra.Command{
		Use: "grants ROLE", Short: "Prints what a role needs of the schema, which is there: to run jobs, or only to verify, to look, or to install triggers", Args: args(1, 1, "one role"),
		RunE: func(_ *cobra.Command, given []string) error {
			text := checkpoint.Grants(given[0])
			switch {
			case installer:
				text = checkpoint.InstallerGrants(given[0])
			case verifier:
				text = checkpoint.VerifierGrants(given[0])
			case viewer:
				text = checkpoint.ViewerGrants(given[0])
			}
			_, err := fmt.Fprint(a.out, text)
			return err
		},
	}
	grants.Flags().BoolVar(&installer, "installer", false, "print what a role needs in order to install triggers on tables that it owns")
	grants.Flags().BoolVar(&verifier, "verifier", false, "print what a role needs in order to verify, and to have that recorded")
	grants.Flags().BoolVar(&viewer, "viewer", false, "print what a role needs for status, report and gate, and for nothing else")
	grants.MarkFlagsMutuallyExclusive("installer", "verifier", "viewer")
	install := a.schemaStep("install", "Installs the schema pgbackfill; run does it by itself where the role may", "installed", a.install)
	upgrade := a.schemaStep("upgrade", "Brings the schema up to this version", "up to date", func(ctx context.Context, conn *pgx.Conn) error {
		return checkpoint.Upgrade(ctx, conn, checkpoint.InstallOptions{Version: a.version, AcceptPublications: a.accepts("schema-published")})
	})
	configs.AcceptFlag(install.Flags())
	configs.AcceptFlag(upgrade.Flags())
	remove := a.schemaStep("remove", "Drops the schema with all that is recorded, the rows kept for undo, and the triggers; refused while a run is unfinished", "removed", a.remove)
	c.AddCommand(install, upgrade, remove, sql, grants)
	return c
}

// remove drops the schema, and asks first: what is recorded of every run goes with it, and the triggers that applications may rely on.
func (a *app) remove(ctx context.Context, conn *pgx.Conn) error {
	what := "all that it holds"
	err := a.stored(ctx, func(s *checkpoint.Store) error {
		list, err := s.Runs(ctx)
		what = "the history of " + human.Plural(int64(len(list)), "run")
		return err
	})
	if err != nil { // it is for Remove to explain
		return checkpoint.Remove(ctx, conn)
	}
	if err := checkpoint.Removable(ctx, conn); err != nil {
		return err
	}
	goes, err := checkpoint.GoesAlong(ctx, conn)
	if err != nil {
		return err
	}
	if len(goes) > 0 {
		what += ", and " + strings.Join(goes, ", ")
	}
	if !a.yes && !a.interactive() {
		return &backfill.Error{
			Place: "schema pgbackfill", Found: "removing it takes along " + what + ", and nobody can be asked here", Expected: "--yes", Kind: backfill.ErrInput,
			Remedy: "where all of that may go: pgbackfill schema remove --yes",
		}
	}
	if !a.ask("Drop the schema pgbackfill, and with it " + what + "?") {
		return &backfill.Error{Found: "not removed, as answered", Kind: backfill.ErrInput}
	}
	return checkpoint.Remove(ctx, conn)
}

func (a *app) schemaStep(use, short, done string, do func(context.Context, *pgx.Conn) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: args(0, 0, "no arguments"), RunE: func(c *cobra.Command, _ []string) error {
		return a.connected(c.Context(), func(conn *pgx.Conn) error {
			if err := do(c.Context(), conn); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "the schema pgbackfill is %s\n", done)
			return nil
		})
	}}
}
