package vote

// Presence is whether something is on a majority of nodes: a holder, a waiter, what
// a release removed.
type Presence struct {
	Nodes  uint8
	There  Set
	Absent Set
	Silent Set // did not answer
}

// Answer is what is known of a presence.
type Answer uint8

// The answers.
const (
	NotKnown Answer = iota // wait for more
	Yes
	No
	Perhaps // too few answered to tell
)

// Answer is what is certain so far. Where a majority cannot be asked at all it is
// Perhaps, whatever the others say.
func (p Presence) Answer() Answer {
	majority := Majority(int(p.Nodes))
	switch {
	case p.There.Len() >= majority:
		return Yes
	case int(p.Nodes)-p.Absent.Len() < majority:
		return No
	case (p.There | p.Absent | p.Silent).Len() == int(p.Nodes):
		return Perhaps
	}
	return NotKnown
}
