package verify

// Class is what is likely to have happened to a row that is not as it should be.
type Class string

// The classes.
const (
	// NeverBackfilled is a row that no chunk of the run came to, or that was there when its chunk did and was left as it was.
	NeverBackfilled Class = "never_backfilled"
	// BackfillWrong is a row that the run itself wrote: it wrote a wrong value, or over a newer one.
	BackfillWrong Class = "backfill_wrong"
	// DualWriteMissed is a row that others wrote behind the run and left without what they should have written too.
	DualWriteMissed Class = "dual_write_missed"
	// DualWriteWrong is a row in which others wrote something else behind the run.
	DualWriteWrong Class = "dual_write_wrong"
	// ClassMissing and ClassExtra are rows that should be there, and that should not.
	ClassMissing Class = "missing"
	ClassExtra   Class = "extra"
	// Unknown is a row of which nothing tells what happened to it, or that nobody looked at closer.
	Unknown Class = "unknown"
)

// Confidence is how far a class can be relied on.
type Confidence string

// The degrees of confidence.
const (
	// Certain is what was seen.
	Certain Confidence = "certain"
	// Likely is what the ledger and the row's visibility say: other transactions' parts, and rows that were touched again
	// for another reason, can blur it.
	Likely Confidence = "likely"
	// NoConfidence is that of [Unknown].
	NoConfidence Confidence = "none"
)

// plainly gives a mismatch the class that shows in its kind.
func plainly(m *Mismatch) {
	switch m.Kind {
	case Missing:
		m.Class, m.Confidence, m.Evidence = ClassMissing, Certain, "no such row is there"
	case Extra:
		m.Class, m.Confidence, m.Evidence = ClassExtra, Certain, "the row is there"
	default:
		m.Class, m.Confidence, m.Evidence = Unknown, NoConfidence, "there is no ledger to look at"
	}
}

// classes counts a check's mismatches by class. Those that were not looked at closer are of the class that shows in
// their kind.
func (c *checking) classes() map[Class]int64 {
	list := map[Class]int64{ClassMissing: c.result.Missing, ClassExtra: c.result.Extra, Unknown: c.result.Different}
	for _, m := range c.found() {
		from := map[MismatchKind]Class{Missing: ClassMissing, Extra: ClassExtra, Different: Unknown}[m.Kind]
		n := min(m.Rows, list[from])
		list[from] -= n
		list[m.Class] += n
	}
	for class, n := range list {
		if n == 0 {
			delete(list, class)
		}
	}
	return list
}
