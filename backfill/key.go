package backfill

import "strings"

// Key is a tuple of key values in PostgreSQL's text form, rendered and read under
// the engine's own pinned settings. Only PostgreSQL compares keys.
type Key []string

// String shows the key to people: (42), (42, 2020-01-01).
func (k Key) String() string {
	if k == nil {
		return "(open)"
	}
	return "(" + strings.Join(k, ", ") + ")"
}

// KeyRange is the half-open range (After, Through]. A nil side is open.
type KeyRange struct {
	After   Key `json:"after,omitempty"`
	Through Key `json:"through,omitempty"`
}

func (r KeyRange) String() string {
	return "after " + r.After.String() + " through " + r.Through.String()
}
