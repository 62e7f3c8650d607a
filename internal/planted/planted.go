// Package planted names the bugs that the simulation of the protocol must find. Each stands in the production code, behind the build
// tag "planted": a simulation that drives the code as it is proves nothing unless it fails where the code is wrong. Without
// the tag [In] is always false, and the compiler leaves out what depends on it.
package planted

// Bug is one that can be planted.
type Bug string

// The bugs.
const (
	// None is the code as it is.
	None Bug = ""
	// NoFence splits, cancels and supersedes without a fence row.
	NoFence Bug = "no fence row"
	// OneRound fences the segments that are open at one moment, and does not look again for those that moved on meanwhile.
	OneRound Bug = "fences written in one round"
	// NoContiguity lets a ledger row in that does not begin where the one before it ended.
	NoContiguity Bug = "no contiguity check"
	// FenceIgnored lets a ledger row in behind a fence.
	FenceIgnored Bug = "fence ignored"
	// EndUnchecked lets a ledger row in whose worker believes that the segment ends elsewhere.
	EndUnchecked Bug = "segment's end not checked"
	// PassUnchecked lets a ledger row in whose worker believes that the segment is of another pass, or another leaf.
	PassUnchecked Bug = "segment's pass and leaf not checked"
	// RunUnchecked lets a ledger row in that was meant for another run of the same number.
	RunUnchecked Bug = "identity of the run not checked"
	// LedgerOutside writes the ledger row in a transaction of its own, after the chunk's.
	LedgerOutside Bug = "ledger written outside of the transaction"
	// KeptWatermark trusts memory over a lost connection.
	KeptWatermark Bug = "watermark kept after a lost connection"
	// GuessedCommitted takes a COMMIT whose answer was lost for one that was carried out.
	GuessedCommitted Bug = "lost COMMIT taken for committed"
	// TagUnchecked takes a COMMIT that was answered with ROLLBACK for one that was carried out.
	TagUnchecked Bug = "COMMIT answered with ROLLBACK taken for committed"
	// FinishUnproven finishes a run without the proof from the ledger.
	FinishUnproven Bug = "finished without proof"
)

// Bugs are all of them.
var Bugs = []Bug{
	NoFence, OneRound, NoContiguity, FenceIgnored, EndUnchecked, PassUnchecked, RunUnchecked,
	LedgerOutside, KeptWatermark, GuessedCommitted, TagUnchecked, FinishUnproven,
}
