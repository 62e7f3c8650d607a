package main

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"

	"github.com/pgbackfill/pgbackfill/internal/human"
)

// transform measures rows that are computed by a program outside of the database which does nothing: what is left is reading, carrying and
// writing them. It is compared with one UPDATE that writes the same.
func transform(ctx context.Context, b *workshop, rounds int, keep func(*result) error) error {
	t, err := tableNamed("sequential")
	if err != nil {
		return err
	}
	t.value = "t.full_name"
	if err := b.makeTable(ctx, t, b.sized(1_000_000)); err != nil {
		return err
	}
	list := []trial{rivals()[0]}
	list[0].how = "`" + t.change().update() + "`"
	cat, err := exec.LookPath("cat")
	if err != nil {
		b.lacking = append(b.lacking, "transforms: there is no program cat here, which does nothing")
	} else {
		text := fmt.Sprintf("name: %s\ntable: %s.users\ntransform: {read: [\"t.full_name AS display_name\"], command: [%q], write: [display_name]}\n", jobName, schema, cat)
		for _, n := range []int{2, 1, 4} {
			list = append(list, trial{
				name: transformName(n), how: "a job whose values come from the program `cat`, which returns the lines that it is given",
				run: func(ctx context.Context, b *workshop) (usage, error) {
					return b.runJob(ctx, text, "--allow-programs", "--workers", strconv.Itoa(n))
				},
			})
		}
	}
	r, err := b.interleave(ctx, "transform", list, rounds)
	if err != nil {
		return err
	}
	r.Table = ""
	return keep(r)
}

func transformName(workers int) string {
	return "transform by cat, " + human.Plural(int64(workers), "worker")
}

func transformTargets(r *result) { r.faster(transformName(2), single, 0.8) }

const (
	scan     = "one parallel scan"
	verified = "pgbackfill verify, 2 workers"
)

// verification measures reading everything again, against one statement that asks the same.
func verification(ctx context.Context, b *workshop, rounds int, keep func(*result) error) error {
	t, err := tableNamed("sequential")
	if err != nil {
		return err
	}
	if err := b.makeTable(ctx, t, b.sized(8_000_000)); err != nil {
		return err
	}
	if err := b.freshTable(ctx); err != nil {
		return err
	}
	if _, err := b.runJob(ctx, t.job()); err != nil {
		return err
	}
	if err := b.exec(ctx, "VACUUM ANALYZE users"); err != nil {
		return err
	}
	job, err := b.jobFile(t.job())
	if err != nil {
		return err
	}
	wrong := "SELECT count(*) FROM users AS t WHERE t.display_name IS DISTINCT FROM " + t.filling()
	r, err := b.interleave(ctx, "verify", []trial{
		{name: scan, how: "`" + wrong + "`, with the server's own settings", reads: true, run: measured(func(ctx context.Context, b *workshop) error {
			var n int64
			err := b.conn.QueryRow(ctx, wrong).Scan(&n)
			if err == nil && n > 0 {
				err = fmt.Errorf("%w: %s do not hold what they should", errData, human.Plural(n, "row"))
			}
			return err
		})},
		{name: verified, how: "the program, which names what is wrong and records what it has read", reads: true, run: func(ctx context.Context, b *workshop) (usage, error) {
			return b.call(ctx, exitDone, "verify", job, "--log-format", "json", "--workers", "2")
		}},
	}, rounds)
	if err != nil {
		return err
	}
	r.Table = ""
	return keep(r)
}

func verifyTargets(r *result) { r.faster(verified, scan, 0.8) }
