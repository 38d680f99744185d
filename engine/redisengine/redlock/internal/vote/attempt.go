package vote

// Phase is how far an attempt has come. It only ever grows.
type Phase uint8

// The phases of an attempt.
const (
	Voting  Phase = iota // nodes are asked for their vote
	Writing              // a majority voted, with counters that differ: the greatest is written back
	Won                  // Token is final, and a majority is ours
	Lost                 // no majority will be: what was voted is withdrawn
)

// Attempt is one try to get a name on a majority of nodes. Each node that votes
// has counted its votes on that name, and says the count.
//
// The token is the greatest count of the first majority. If all of that majority
// said this very count, it is final: a later attempt meets one of these nodes, which
// then counts further. If not, it is written to nodes where the name is still ours and the
// count not beyond it, until a majority has it. A node that counted beyond it has
// voted for somebody since, and must not vouch for the token: two attempts could
// end with one token.
//
// What holds (explore/): tokens are unique, and an attempt that starts after
// another was won has a greater one.
type Attempt struct {
	Nodes    uint8
	Phase    Phase
	For      Set // voted for us
	Against  Set // will not: somebody else has the name there
	Silent   Set // not waited for; an answer still counts
	Has      Set // vouch for Token: their count was, or became, it while the name was ours
	Declined Set // do not
	Token    uint64
	Count    [MaxNodes]uint64 // of those in For
}

// New is an attempt on so many nodes.
func New(nodes int) Attempt { return Attempt{Nodes: uint8(nodes)} }

func (a *Attempt) majority() int { return Majority(int(a.Nodes)) }

// Granted: the node voted for us, and its count is now count. A vote that comes
// after the token was chosen counts only for vouching.
func (a *Attempt) Granted(node int, count uint64) {
	if a.Phase >= Won || a.For.Has(node) {
		return
	}
	a.For, a.Against, a.Silent = a.For.With(node), a.Against.Without(node), a.Silent.Without(node)
	a.Count[node] = count
	if a.Phase == Voting && a.For.Len() >= a.majority() {
		a.choose()
	} else if a.Phase == Writing && count == a.Token {
		a.Has = a.Has.With(node)
	}
	a.decide()
}

// choose takes the greatest count for the token.
func (a *Attempt) choose() {
	a.Phase = Writing
	for node := range int(a.Nodes) {
		if a.For.Has(node) {
			a.Token = max(a.Token, a.Count[node])
		}
	}
	for node := range int(a.Nodes) {
		if a.For.Has(node) && a.Count[node] == a.Token {
			a.Has = a.Has.With(node)
		}
	}
}

// Refused: somebody else has the name there.
func (a *Attempt) Refused(node int) {
	if a.Phase >= Won || a.For.Has(node) {
		return
	}
	a.Against, a.Silent = a.Against.With(node), a.Silent.Without(node)
	a.decide()
}

// Mute: the node has not answered what it was asked last, and is not waited for.
func (a *Attempt) Mute(node int) {
	if a.Phase >= Won {
		return
	}
	a.Silent = a.Silent.With(node)
	a.decide()
}

// Write is where the token is to be written: on nodes that voted for us and do not
// vouch for it yet. Asked twice, a node answers the same.
func (a *Attempt) Write() Set {
	if a.Phase != Writing {
		return 0
	}
	return a.For &^ a.Has &^ a.Declined
}

// Wrote: the name was still ours there, and its count was not beyond the token
// and is the token now.
func (a *Attempt) Wrote(node int) {
	if a.Phase != Writing {
		return
	}
	a.Has, a.Silent = a.Has.With(node), a.Silent.Without(node)
	a.decide()
}

// Decline: the name is not ours there any more, or its count was beyond the token.
func (a *Attempt) Decline(node int) {
	if a.Phase != Writing {
		return
	}
	a.Declined = a.Declined.With(node)
	a.decide()
}

// Expire: too much time has passed for a grant to be worth having, or nobody wants
// it any more. Nobody has been told of it.
func (a *Attempt) Expire() { a.Phase = Lost }

// decide ends the attempt where its end is certain. Who is silent may still speak,
// but nobody waits for it.
func (a *Attempt) decide() {
	nodes := int(a.Nodes)
	switch a.Phase {
	case Voting:
		// Who was refused by few and hears nothing of others waits for enough answers to
		// tell whether the name is held or nobody can be asked.
		hopeless := nodes-(a.Against|a.Silent).Len() < a.majority()
		heard := a.For | a.Against | a.Silent
		if hopeless && (a.Asked() || heard == All(nodes)) {
			a.Phase = Lost
		}
	case Writing:
		never := (a.Against | a.Declined | a.Silent) &^ a.Has
		if a.Has.Len() >= a.majority() {
			a.Phase = Won
		} else if nodes-never.Len() < a.majority() {
			a.Phase = Lost
		}
	}
}

// Asked says whether a majority answered at all: an attempt that was lost
// without it says nothing of who has the name.
func (a *Attempt) Asked() bool { return (a.For | a.Against).Len() >= a.majority() }

// Withdraw is where a lost attempt may have, or may yet get, a vote: everywhere
// but where it was refused.
func (a *Attempt) Withdraw() Set {
	if a.Phase != Lost {
		return 0
	}
	return All(int(a.Nodes)) &^ a.Against
}
