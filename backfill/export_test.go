package backfill

// Stretch lets tests read where the ledger's chunks are, by what the engine itself takes them for.
var Stretch = stretch

// What the simulation of the protocol drives.
type (
	Position = position
	Outcome  = outcome
)

// The wishes and outcomes of protocol.go.
const (
	ToConnect, ToLook, ToRead, ToChange, ToLeave, ToYield, ToGiveUp = toConnect, toLook, toRead, toChange, toLeave, toYield, toGiveUp
	WasCommitted, WasRefused, WasRolledBack, WasMoved, WasUnheard   = wasCommitted, wasRefused, wasRolledBack, wasMoved, wasUnheard
)

// NewPosition is a worker's at the beginning of a segment.
func NewPosition(seg Segment, doubtful bool) *Position {
	return &position{seg: seg, doubtful: doubtful}
}

// Wants, and what follows, are the methods of [position].
func (p *position) Wants(connected bool) wish { return p.wants(connected) }
func (p *position) Looked(there bool)         { p.looked(there) }
func (p *position) Read(m Mark)               { p.read(m) }
func (p *position) Unread()                   { p.unread() }
func (p *position) Chunk() Chunk              { return p.chunk() }
func (p *position) Mark() Mark                { return p.mark }

// Came says of the chunk, besides, whether it is the last one of its segment.
func (p *position) Came(of Outcome, c Chunk, last bool) {
	c.last = last
	p.came(of, c)
}

// Heard, StillThere and Ending are what they say in protocol.go.
var (
	Heard      = heard
	StillThere = stillThere
)

// Ending is [ending].
func Ending[S any](begin, ledger, commit S) []S { return ending(begin, ledger, commit) }
