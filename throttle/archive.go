package throttle

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// archiveBacklog is how many segments of the log wait to be archived: the .ready files where this role may list them, and
// else the distance from the segment archived last to the one that is written.
type archiveBacklog struct {
	query  Querier
	limits func() Limits
}

func (archiveBacklog) Name() string { return "archive_backlog" }
func (archiveBacklog) Class() Class { return Gating }

func (s archiveBacklog) Read(ctx context.Context) (Reading, error) {
	l := s.limits()
	if l.ArchiveMaxSegments <= 0 {
		return Reading{Off: true, Note: "archive.max_segments is off"}, nil
	}
	rows, err := s.query.Query(ctx, pgsql.Archiver())
	if err != nil {
		return Reading{}, err
	}
	if len(rows) != 1 {
		return Reading{}, fmt.Errorf("an answer of %d rows; expected one", len(rows))
	}
	row := rows[0]
	if !flag(row[0]) {
		return Reading{Off: true, Note: "the log is not archived"}, nil
	}
	detail := ""
	if failed := text(row[5]); failed != "" {
		detail = "archiving " + failed + " failed"
	}
	reading := func(n float64) Reading {
		return Reading{Value: n, Limit: float64(l.ArchiveMaxSegments), Unit: Number, Detail: detail}
	}
	if flag(row[1]) {
		n, err := oneNumber(ctx, s.query, pgsql.ArchiveWaiting())
		return reading(n), err
	}
	n, err := segmentsBetween(text(row[2]), text(row[3]), text(row[4]))
	switch {
	case err == nil:
		return reading(n), nil
	case l.Unmonitored == Accept:
		return Reading{Off: true, Note: "not monitored, by agreement"}, nil
	}
	return Reading{}, errors.Join(noPrivilege(text(row[6]), "the files of the archive"), err)
}

// segmentsBetween counts the segments after the one archived last and before the one that is written.
func segmentsBetween(archived, written, segmentSize string) (float64, error) {
	size, err := strconv.ParseUint(segmentSize, 10, 64)
	if err != nil || size == 0 || size > 1<<32 {
		return 0, fmt.Errorf("a segment of %q bytes", segmentSize)
	}
	from, err := segmentNumber(archived, size)
	if err != nil {
		return 0, fmt.Errorf("the segment archived last: %w", err)
	}
	to, err := segmentNumber(written, size)
	if err != nil {
		return 0, fmt.Errorf("the segment written now: %w", err)
	}
	return max(float64(to)-float64(from)-1, 0), nil
}

// segmentNumber reads the name of a segment: timeline, high and low part in eight hexadecimal digits each.
func segmentNumber(name string, size uint64) (uint64, error) {
	if len(name) != 24 {
		return 0, fmt.Errorf("%q is no name of a segment", name)
	}
	high, err1 := strconv.ParseUint(name[8:16], 16, 64)
	low, err2 := strconv.ParseUint(name[16:], 16, 64)
	if err := errors.Join(err1, err2); err != nil {
		return 0, fmt.Errorf("%q is no name of a segment: %w", name, err)
	}
	return high*(1<<32/size) + low, nil
}
