package contract

import (
	"context"
	"fmt"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// scope looks whether the proof is about what is dropped: whether the job computes anything from it, and what of it is in rows
// that the job leaves out.
func (g *gate) scope(ctx context.Context) (answer, error) {
	if status, why := needsDrops(g); why != "" {
		return answer{status: status, evidence: []string{why}}, nil
	}
	found := answer{status: Pass}
	judged := [][]string{}
	for _, d := range g.terms.Drops {
		if !g.Job.Reads(d) {
			judged = append(judged, []string{string(Fail), fmt.Sprintf("nothing that the job writes or verifies is computed from %s: that it is proven says nothing of what is dropped", d)})
		}
	}
	if !g.about.Scoped {
		judged = append(judged, []string{string(Pass), "the job is about every row"})
		found.judge(judged)
		return found, nil
	}
	s := pgsql.GateScope(g.about)
	found.sql = []string{s.Shown()}
	rows, err := g.ask(ctx, s)
	if err != nil {
		return found, err
	}
	found.judge(append(judged, rows...))
	return found, nil
}
