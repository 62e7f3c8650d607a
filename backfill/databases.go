package backfill

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"strconv"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// WhichDatabases asks each database that the job's checks name with in: which one it is, whatever it is called here: the number
// of its cluster, which its standbys share, and its own. One that does not tell is known by its address. An error is of one
// that is not in the map (an [ErrInput]), or that could not be asked.
func (j Job) WhichDatabases(ctx context.Context, databases map[string]Connect) (map[string]string, error) {
	known := map[string]string{}
	for _, c := range j.Verify {
		if c.In == "" || known[c.In] != "" {
			continue
		}
		connect := databases[c.In]
		if connect == nil {
			return nil, Inputf(j.Origin, fmt.Sprintf("say where it is: databases: {%[1]s: …} in the configuration, or --database %[1]s=CONNECTION", c.In), "check %s compares with the database %s, and no database of that name is known", c.Name, c.In)
		}
		which, err := whichDatabase(ctx, connect)
		if err != nil {
			return nil, fmt.Errorf("asking the database %s which one it is: %w", c.In, err)
		}
		known[c.In] = which
	}
	return known, nil
}

func whichDatabase(ctx context.Context, connect Connect) (string, error) {
	conn, err := connect(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	answer := conn.PgConn().ExecParams(ctx, pgsql.WhichDatabase.SQL, nil, nil, nil, nil).Read()
	if answer.Err == nil && len(answer.Rows) == 1 {
		return string(answer.Rows[0][0]), nil
	}
	if ctx.Err() != nil || conn.IsClosed() {
		return "", answer.Err
	}
	at := conn.Config()
	return net.JoinHostPort(at.Host, strconv.Itoa(int(at.Port))) + "/" + at.Database, nil
}

// ChecksHash identifies what the job's checks ask, which are no part of what the job is: SHA-256 of their JSON form, in hex, together
// with which databases they ask where they name others, as [Job.WhichDatabases] has it. That of no checks is of the one that
// follows from the job's steps.
func (j Job) ChecksHash(databases map[string]string) string {
	var what any = append([]Check{}, j.Verify...)
	if len(databases) > 0 {
		what = struct {
			Checks    any               `json:"checks"`
			Databases map[string]string `json:"databases"`
		}{what, databases}
	}
	b, err := json.Marshal(what)
	if err != nil { // as in Hash
		panic(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
