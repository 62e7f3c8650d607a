package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/human"
	"github.com/pgbackfill/pgbackfill/jobs"
)

func (a *app) initCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "init TABLE", Short: "Writes a job file from a live table", Args: args(1, 1, "one table"),
		RunE: func(c *cobra.Command, given []string) error {
			return a.connected(c.Context(), func(conn *pgx.Conn) error {
				text, err := jobs.Init(c.Context(), conn, given[0])
				if err != nil {
					return err
				}
				if file == "" {
					_, err = a.out.Write(text)
					return err
				}
				if err := writeNew(file, text); err != nil {
					return err
				}
				fmt.Fprintf(a.out, "%s is written\n  → edit it, then: pgbackfill plan %s\n", file, file)
				return nil
			})
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "write to this file, which must not exist, instead of standard output")
	return c
}

// writeNew writes a file that was not there before.
func writeNew(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		remedy := "name a file in a directory that you may write to"
		switch {
		case errors.Is(err, fs.ErrExist):
			remedy = "name a file that does not exist yet"
		case errors.Is(err, fs.ErrNotExist):
			remedy = "make the directory first: mkdir -p " + filepath.Dir(path)
		}
		return &backfill.Error{Place: path, Found: "it cannot be written", Err: err, Remedy: remedy, Kind: backfill.ErrInput}
	}
	if _, err := f.Write(text); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func (a *app) lintCommand() *cobra.Command {
	strict := false
	c := &cobra.Command{
		Use: "lint FILE…", Short: "Checks job files without a database", Args: args(1, -1, "one or more job files"),
		Long: `lint reads job files as run does and checks all that can be checked without a database: every
field, every SQL fragment by PostgreSQL's own parser. It needs no server and reads no configuration.
The exit code is 2 where a file is refused, with --strict also where there is a warning.`,
		// What is wrong in a configuration file is no reason not to check a job.
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil },
		RunE: func(_ *cobra.Command, given []string) error {
			var failed error
			for _, file := range given {
				before := a.warned
				list, err := a.read(file)
				if err == nil && strict && a.warned > before {
					err = &backfill.Error{
						Place: file, Found: fmt.Sprintf("%s, and --strict allows none", human.Plural(int64(a.warned-before), "warning")),
						Remedy: "do what they say, or leave --strict out", Kind: backfill.ErrInput,
					}
				}
				if err != nil {
					a.fail(err)
					failed = fmt.Errorf("%w: %w", backfill.ErrInput, errSaid)
					continue
				}
				for _, job := range list {
					fmt.Fprintf(a.out, "%s: %s is well-formed\n", file, job.Name)
				}
			}
			return failed
		},
	}
	c.Flags().BoolVar(&strict, "strict", false, "refuse what is only warned of")
	return c
}
