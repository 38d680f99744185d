package vote

// Renewal is one renewal of a claim that was won: whether a majority still is its
// own. Nodes that forgot it do not make up for others: only who still has a
// majority may take them again.
type Renewal struct {
	Nodes   uint8
	Renewed Set // still ours, and for another TTL
	Missing Set // nobody has the name there
	Other   Set // somebody else has it there
	Silent  Set // did not answer
}

// Verdict is what a renewal found.
type Verdict uint8

// The verdicts.
const (
	Open   Verdict = iota // wait for more answers
	Kept                  // a majority is ours for another TTL
	Gone                  // no majority can be ours any more
	Unsure                // a majority may be ours: too few answered
)

// Verdict is what is certain so far.
func (r Renewal) Verdict() Verdict {
	majority := Majority(int(r.Nodes))
	gone := (r.Missing | r.Other).Len()
	switch {
	case r.Renewed.Len() >= majority:
		return Kept
	case int(r.Nodes)-gone < majority:
		return Gone
	case (r.Renewed | r.Missing | r.Other | r.Silent).Len() == int(r.Nodes):
		return Unsure
	}
	return Open
}

// Rejoin is where the claim is taken again: where nobody has the name, and only
// while a majority is ours. Tokens do not change by it: a node that is joined
// never counts down.
func (r Renewal) Rejoin() Set {
	if r.Verdict() != Kept {
		return 0
	}
	return r.Missing
}
