package ledger

import "github.com/pgbackfill/pgbackfill/internal/planted"

// Split are the statements that divide a segment, in one transaction, in this order: its fence, which the ledger refuses where the segment has
// moved on, and then its two parts.
func Split[S any](fence, parts S) []S {
	if planted.In(planted.NoFence) {
		return []S{parts}
	}
	return []S{fence, parts}
}

// CloseAll goes round in one transaction until no segment is open: workers that commit a chunk, or split a segment,
// between the snapshot of fence and its row are met again in the next round, and each round closes all that stood still. fence writes a
// fence row into every segment that is open as it sees it, but where somebody else's row is first; open counts those that are left.
func CloseAll(fence func() error, open func() (int, error)) error {
	if planted.In(planted.NoFence) {
		return nil
	}
	for {
		if err := fence(); err != nil {
			return err
		}
		left, err := open()
		if err != nil || left == 0 || planted.In(planted.OneRound) {
			return err
		}
	}
}
