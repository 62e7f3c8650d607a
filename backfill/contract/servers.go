package contract

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/internal/human"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// standbys looks whether every standby shows all of the ledger. One that can be asked itself is. Of the others the primary says
// how far they have replayed: all commits that were acknowledged lie before where its log ends now, whereas the place that a
// ledger row notes lies before its own commit.
func (g *gate) standbys(ctx context.Context) (answer, error) {
	if _, why := needsRun(g); why != "" {
		return answer{status: Fail, evidence: []string{why}}, nil
	}
	var found answer
	found.status = Pass
	position, err := g.ask(ctx, pgsql.GatePosition)
	if err != nil {
		return found, err
	}
	s := pgsql.GateStandbys(position[0][0])
	last := pgsql.GateLastRow(g.about)
	found.sql = []string{s.Shown(), last.Shown()}
	rows, err := g.ask(ctx, s)
	if err != nil {
		return found, err
	}
	var judged [][]string
	for deadline := time.Now().Add(g.Patience); behind(rows) && time.Now().Before(deadline); {
		timer := time.NewTimer(g.Patience / 30)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return found, ctx.Err()
		}
		if rows, err = g.ask(ctx, s); err != nil {
			return found, err
		}
	}
	for _, row := range rows {
		switch bytes, err := strconv.ParseInt(row[1], 10, 64); {
		case err != nil:
			judged = append(judged, []string{string(Unknown), row[0] + ": how far it has replayed is not to be seen: GRANT pg_monitor"})
		case bytes > 0:
			judged = append(judged, []string{string(Fail), fmt.Sprintf("%s: it is %s behind", row[0], human.Bytes(bytes))})
		default:
			judged = append(judged, []string{string(Pass), row[0] + ": it has replayed all that was written"})
		}
	}
	asked, err := g.askStandbys(ctx, last)
	if err != nil {
		return found, err
	}
	found.judge(append(judged, asked...))
	if len(found.evidence) == 0 {
		found.evidence = []string{"there is no standby"}
	}
	return found, nil
}

func behind(rows [][]string) bool {
	for _, row := range rows {
		if bytes, err := strconv.ParseInt(row[1], 10, 64); err == nil && bytes > 0 {
			return true
		}
	}
	return false
}

// askStandbys asks each that can be asked itself how many rows of the ledger it shows.
func (g *gate) askStandbys(ctx context.Context, last pgsql.Statement) ([][]string, error) {
	if len(g.Standbys) == 0 {
		return nil, nil
	}
	want, err := g.ask(ctx, last)
	if err != nil {
		return nil, err
	}
	var judged [][]string
	for _, s := range g.Standbys {
		rows, why := g.onStandby(ctx, s, last)
		switch {
		case why != "":
			judged = append(judged, []string{string(Unknown), s.Name + ": " + why})
		case rows[0][0] != want[0][0]:
			judged = append(judged, []string{string(Fail), fmt.Sprintf("%s: it shows %s rows of the ledger, of %s", s.Name, rows[0][0], want[0][0])})
		default:
			judged = append(judged, []string{string(Pass), s.Name + ": it shows all rows of the ledger"})
		}
	}
	return judged, ctx.Err()
}

// onStandby asks a standby, or says why it could not be asked.
func (g *gate) onStandby(ctx context.Context, s Standby, question pgsql.Statement) ([][]string, string) {
	conn, err := s.Connect(ctx)
	if err != nil {
		return nil, "it cannot be asked: " + err.Error()
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := g.askOn(ctx, conn, question)
	if err != nil {
		return nil, "it cannot be asked: " + err.Error()
	}
	return rows, ""
}

// server is one whose statements are counted.
type server struct {
	name string
	conn *pgx.Conn
}

// statements looks whether anybody still names what will be dropped. The server counts calls and not when they were: so each
// look is written down, and what a later one finds more of was called in between.
func (g *gate) statements(ctx context.Context) (answer, error) {
	if status, why := needsDrops(g); why != "" {
		return answer{status: status, evidence: []string{why}}, nil
	}
	var found answer
	found.status = Pass
	judged, err := g.countOn(ctx, server{"primary", g.Conn}, &found)
	if err != nil {
		return found, err
	}
	for _, s := range g.Standbys {
		rows, err := g.countStandby(ctx, s, &found)
		if err != nil {
			return found, err
		}
		judged = append(judged, rows...)
	}
	found.judge(judged)
	return found, nil
}

func (g *gate) countStandby(ctx context.Context, s Standby, found *answer) ([][]string, error) {
	conn, err := s.Connect(ctx)
	if err != nil {
		return [][]string{{string(Unknown), s.Name + ": it cannot be asked: " + err.Error()}}, ctx.Err()
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := g.countOn(ctx, server{s.Name, conn}, found)
	if why, refused := unreadable(conn, err); refused {
		return [][]string{{string(Unknown), s.Name + ": it cannot be read: " + why}}, nil
	}
	return rows, err
}

// countOn counts the statements of one server.
func (g *gate) countOn(ctx context.Context, on server, found *answer) ([][]string, error) {
	unknown := func(format string, args ...any) [][]string {
		return [][]string{{string(Unknown), on.name + ": " + fmt.Sprintf(format, args...)}}
	}
	there, err := g.askOn(ctx, on.conn, pgsql.GateCounters)
	switch {
	case err != nil:
		return nil, err
	case there[0][0] == "":
		return unknown("there is no extension pg_stat_statements in this database"), nil
	case there[0][1] != "t":
		return unknown("this role may not see the statements of others: GRANT pg_read_all_stats"), nil
	}
	resets, err := g.askOn(ctx, on.conn, pgsql.GateResets(there[0][0]))
	if err != nil {
		return nil, err
	}
	evicted, err := strconv.ParseInt(resets[0][1], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("pg_stat_statements_info: %w", err)
	}
	columns, tables := g.patterns()
	question := pgsql.GateStatements(there[0][0], columns, tables)
	found.sql = append(found.sql, question.Shown())
	rows, err := g.askOn(ctx, on.conn, question)
	if err != nil {
		return nil, err
	}
	look, err := g.writeRows(ctx, pgsql.GateLook(g.Job.Name, on.name, resets[0][0], evicted))
	if err != nil {
		return nil, err
	}
	watched, err := strconv.ParseFloat(look[0][0], 64)
	if err != nil {
		return nil, fmt.Errorf("since when statements are watched: %w", err)
	}
	judged, err := g.mark(ctx, on, rows, look[0][1] == "t")
	if err != nil {
		return nil, err
	}
	since := time.Duration(watched * float64(time.Second)).Round(time.Second)
	if since < g.terms.Soak {
		judged = append(judged, unknown("its statements have been watched for %s of %s, without a reset (the last: %s) or statements thrown out (%d times so far, which a greater pg_stat_statements.max prevents): ask the gate again later", since, g.terms.Soak, resets[0][0], evicted)...)
	} else {
		judged = append(judged, []string{string(Pass), fmt.Sprintf("%s: none in %s; %d statements of before are known", on.name, since, len(rows))})
	}
	return judged, nil
}

// mark writes down how often statements were called, and says which were within the soak.
func (g *gate) mark(ctx context.Context, on server, rows [][]string, first bool) ([][]string, error) {
	var judged [][]string
	for _, row := range rows {
		calls, err := strconv.ParseInt(row[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("calls of a statement: %w", err)
		}
		marked, err := g.writeRows(ctx, pgsql.GateMark(g.Job.Name, on.name, row[1], row[0], calls, row[3], first))
		if err != nil {
			return nil, err
		}
		ago, err := strconv.ParseFloat(marked[0][0], 64)
		if err != nil || ago > g.terms.Soak.Seconds() { // no look has seen it called, or long ago
			continue
		}
		if row[0] == "named" {
			judged = append(judged, []string{string(Fail), fmt.Sprintf("%s: called %d times, also since the soak began: %s", on.name, calls, row[3])})
		} else {
			judged = append(judged, []string{string(Unknown), fmt.Sprintf("%s: it reads or writes all columns without naming them, whether it needs this one only its author can tell: %s", on.name, row[3])})
		}
	}
	return judged, nil
}
