package backfill

import (
	"context"
	"sync"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

const (
	// roomJudged is how many rows the later passes over a window must have written for it to say something.
	roomJudged = 30
	// roomLeast is the part of these that must have found room on their own page. With less, whole pages at once cost less.
	roomLeast = 0.4
	// holdersPoll is how often it is looked whether those are gone who keep old rows.
	holdersPoll = 250 * time.Millisecond
	// firstDetour is how many chunks of whole pages come before the next try where nobody is seen who keeps old rows, twice as
	// many each time up to lastDetour.
	firstDetour, lastDetour = 8, 128
)

// windowCounts are what the passes over one window have come to: from where transactions were when it was opened ("" is not known, since
// others have opened it), how many rows the passes after the first have written, and how many of them on their own page.
type windowCounts struct {
	opened       string
	updated, hot int64
}

// room is whether the rows of a window find room on their own pages, for all workers of this process: where they do not, pages are changed as
// a whole until they do again. That is measured, and so is true whatever the cause is and whoever may see it.
type room struct {
	mu sync.Mutex
	// lacking is set while there is none, and since is what those keep who are the cause, where they are known: rows of that
	// transaction and later ones. asked is when it was last looked.
	lacking bool
	since   string
	asked   time.Time
	// detour is how many chunks of whole pages there are to the next try, and next how many will come before the one after it.
	detour, next int
}

// opens reports whether a window is to be opened.
func (w *worker) opens(ctx context.Context) bool {
	r := &w.room
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !r.lacking:
		return true
	case r.since == "":
		if r.detour--; r.detour > 0 {
			return false
		}
		r.detour = r.next // the others wait for what this one finds
		return true
	case time.Since(r.asked) < holdersPoll:
		return false
	}
	r.asked = time.Now()
	if holders, err := w.holding(ctx, r.since); err != nil || len(holders) > 0 { // whoever cannot be asked may be there still
		return false
	}
	r.lacking, r.since, r.next = false, "", 0
	w.observe(RoomChanged{Worker: w.id, Enough: true})
	return true
}

// holding names who keeps old rows of a transaction and later ones.
func (w *worker) holding(ctx context.Context, since string) ([]string, error) {
	answers, err := exchange(ctx, w.conn.PgConn(), pgsql.Holding(since))
	if err != nil {
		return nil, err
	}
	var list []string
	for _, row := range answers[0].rows {
		list = append(list, row[0])
	}
	return list, nil
}

// counted takes note of a committed chunk, and of what the passes over a window have come to when the last one is done.
func (w *worker) counted(ctx context.Context, at *position, chunk Chunk) {
	if chunk.stripe == 0 {
		return
	}
	switch before := spotOf(chunk.Range.After); {
	case before.of == 0:
		at.window = windowCounts{opened: chunk.now}
	case chunk.stripe > 1:
		at.window.updated += chunk.updated
		at.window.hot += chunk.hot
	}
	if spotOf(chunk.Range.Through).of > 0 || at.window.opened == "" || at.window.updated < roomJudged {
		return
	}
	part := float64(at.window.hot) / float64(at.window.updated)
	var holders []string
	if part < roomLeast {
		holders, _ = w.holding(ctx, at.window.opened) // not knowing why changes nothing
	}
	w.judged(part, at.window.opened, holders)
}

// judged says which part of a window's rows has found room, and who was seen to keep the old ones.
func (w *worker) judged(part float64, opened string, holders []string) {
	r := &w.room
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.lacking
	if r.lacking = part < roomLeast; !r.lacking {
		if r.since, r.next = "", 0; was {
			w.observe(RoomChanged{Worker: w.id, Enough: true})
		}
		return
	}
	why := "nobody is seen to hold it: the rows may have grown too much, or belong to transactions that role " + w.plan.Server.Role + " may not see"
	if r.since = ""; len(holders) > 0 {
		r.since, r.asked = opened, time.Now()
		why = "the old rows are still seen by " + some(holders)
	}
	r.next = min(max(2*r.next, firstDetour), lastDetour)
	r.detour = r.next
	if !was {
		w.observe(RoomChanged{Worker: w.id, Why: why})
	}
}
