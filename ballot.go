package lockstep

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Ballot is a vote on one question, its name. Each voter votes once, under an id
// of its own; the first choice counts, whatever it says later. As soon as the rule
// is met, or can no longer be, the vote is closed by the very commit that brought
// it there: so there is one decision, it is the same for all, and never changes,
// whoever crashes when. A Ballot is a stateless handle.
//
// Errors are those of [Map]; all who use the name must give the same voters and
// rule, or they get [ErrMismatch].
type Ballot struct {
	r        record[ballotState]
	voters   Voters
	rule     Rule
	deadline time.Duration
}

// Voters is who may vote: [AnyVoters] or [NamedVoters].
type Voters struct {
	n     int
	names []string // in order; nil: whoever comes first
}

// AnyVoters is n voters, whatever their ids are.
func AnyVoters(n int) Voters { return Voters{n: n} }

// NamedVoters is the voters with these ids and nobody else.
func NamedVoters(ids ...string) Voters {
	names := slices.Compact(slices.Sorted(slices.Values(ids)))
	return Voters{n: len(names), names: names}
}

// Rule is what makes a choice the decision.
type Rule string

// The rules.
const (
	RuleMajority Rule = "majority" // more than half of all voters chose it
	RuleAll      Rule = "all"      // every voter chose it
	RuleFirst    Rule = "first"    // the first vote did
)

// Decision is what a vote came to.
type Decision struct {
	// Carried: the rule was met, by Choice. Otherwise the vote ended without:
	// the rule could no longer be met, or the deadline passed.
	Carried bool
	Choice  string
	Votes   []Vote // in the order in which they were cast; late ones do not count
}

// Vote is one voter's first choice.
type Vote struct {
	Voter  string `json:"voter"`
	Choice string `json:"choice"`
}

type ballotState struct {
	N       int      `json:"n"`
	Names   []string `json:"names,omitempty"`
	Rule    Rule     `json:"rule"`
	Votes   []Vote   `json:"votes"`
	Closed  bool     `json:"closed,omitempty"`
	Carried bool     `json:"carried,omitempty"`
	Choice  string   `json:"choice,omitempty"`
}

// Ballot is the vote with this name, by [RuleMajority] unless told otherwise. Bad
// arguments are an error of its first use.
func (c *Client) Ballot(name string, voters Voters) *Ballot {
	return &Ballot{r: newRecord[ballotState](c, "ballot", name, DefaultKeep), voters: voters, rule: RuleMajority}
}

// Rule is the same with another rule.
func (b *Ballot) Rule(r Rule) *Ballot {
	with := *b
	with.rule = r
	return &with
}

// Deadline is the same with an end: [Ballot.Decision] closes the vote, for all,
// when it has waited for so long. It counts from its own beginning, so no two
// machines' clocks meet, and the first whose time is over closes.
func (b *Ballot) Deadline(d time.Duration) *Ballot {
	with := *b
	with.deadline = d
	return &with
}

// Keep is the same with another retention, [MinKeep] to [MaxTerm], counted from the
// last vote; [DefaultKeep] where it is not given. Some time after it the vote is
// forgotten, its decision too.
func (b *Ballot) Keep(d time.Duration) *Ballot {
	with := *b
	with.r.keep = d
	return &with
}

// Vote casts the voter's vote, once, and returns the choice that counts for it: its
// first. A vote that comes after the decision is kept and changes nothing.
//
// [ErrInvalid]: an id or choice that is empty, longer than [MaxKey] bytes or has
// control characters; an id that is none of the voters'; one more than there are.
func (b *Ballot) Vote(ctx context.Context, id, choice string) (counts string, err error) {
	counts, err = b.vote(ctx, id, choice)
	return counts, failed("vote on", b.r.m.name, err)
}

func (b *Ballot) vote(ctx context.Context, id, choice string) (counts string, err error) {
	if err := b.checkVote(id, choice); err != nil {
		return "", err
	}
	_, err = b.r.update(ctx, "", func(_ context.Context, s *seen[ballotState]) (bool, error) {
		if err := b.open(s); err != nil {
			return false, err
		}
		if i := slices.IndexFunc(s.state.Votes, func(v Vote) bool { return v.Voter == id }); i >= 0 {
			counts = s.state.Votes[i].Choice
			return false, nil
		}
		if len(s.state.Votes) == s.state.N {
			return false, invalidf("voter %.40q is one too many: all %d have voted", id, s.state.N)
		}
		counts = choice
		s.state.cast(Vote{id, choice})
		return true, nil
	})
	return counts, err
}

// Decision waits until there is one, for its deadline to pass, or for ctx to end.
func (b *Ballot) Decision(ctx context.Context) (Decision, error) {
	d, err := b.decision(ctx)
	return d, failed("decision of", b.r.m.name, err)
}

func (b *Ballot) decision(ctx context.Context) (Decision, error) {
	if err := b.check(); err != nil {
		return Decision{}, err
	}
	waiting, cancel := ctx, context.CancelFunc(func() {})
	if b.deadline > 0 {
		waiting, cancel = context.WithTimeout(ctx, b.deadline)
	}
	defer cancel()
	s, err := b.r.wait(waiting, func(s seen[ballotState]) (bool, error) {
		err := b.open(&s)
		return s.state.Closed, err
	})
	if err != nil && ctx.Err() == nil && waiting.Err() != nil {
		s, err = b.r.update(ctx, "", func(_ context.Context, s *seen[ballotState]) (bool, error) {
			err := b.open(s)
			open := !s.state.Closed
			s.state.Closed = true
			return open, err
		})
	}
	if err != nil {
		return Decision{}, err
	}
	return Decision{Carried: s.state.Carried, Choice: s.state.Choice, Votes: s.state.Votes}, nil
}

// open makes the state of a vote that is not there yet, and refuses one of other
// voters or another rule.
func (b *Ballot) open(s *seen[ballotState]) error {
	if s.revision == 0 {
		s.state = ballotState{N: b.voters.n, Names: b.voters.names, Rule: b.rule}
		return nil
	}
	if is := s.state; is.N != b.voters.n || is.Rule != b.rule || !slices.Equal(is.Names, b.voters.names) {
		return &MismatchError{Name: b.r.m.name, Detail: fmt.Sprintf("the vote has %s, and was asked for with %s",
			ballotTerms(is.N, is.Names, is.Rule), ballotTerms(b.voters.n, b.voters.names, b.rule))}
	}
	return nil
}

// ballotTerms is what all who vote must say alike.
func ballotTerms(n int, names []string, rule Rule) string {
	ids := "any ids"
	if names != nil {
		ids = fmt.Sprintf("the ids %.100q", names)
	}
	return fmt.Sprintf("%d voters of %s and the rule %q", n, ids, rule)
}

// cast adds a vote, and closes the ballot with the one that decides.
func (s *ballotState) cast(v Vote) {
	s.Votes = append(s.Votes, v)
	if s.Closed {
		return
	}
	most, choice := s.most()
	left := s.N - len(s.Votes)
	switch s.Rule {
	case RuleFirst:
		s.Carried = true
	case RuleAll:
		s.Carried = most == s.N
		s.Closed = most < len(s.Votes)
	case RuleMajority:
		s.Carried = 2*most > s.N
		s.Closed = 2*(most+left) <= s.N
	}
	if s.Carried {
		s.Closed, s.Choice = true, choice
	}
}

// most is the choice that has the most votes.
func (s *ballotState) most() (n int, choice string) {
	count := map[string]int{}
	for _, v := range s.Votes {
		if count[v.Choice]++; count[v.Choice] > n {
			n, choice = count[v.Choice], v.Choice
		}
	}
	return n, choice
}

func (b *Ballot) check() error {
	switch {
	case b.voters.n < 1:
		return invalidf("a vote of %d voters; it needs 1 at least", b.voters.n)
	case b.rule != RuleMajority && b.rule != RuleAll && b.rule != RuleFirst:
		return invalidf("rule %.40q; it is %q, %q or %q", b.rule, RuleMajority, RuleAll, RuleFirst)
	case b.deadline < 0:
		return invalidf("a deadline of %v; it may not be negative (0: none)", b.deadline)
	}
	for _, name := range b.voters.names {
		if err := checkWord("voter", name); err != nil {
			return err
		}
	}
	return checkKeep(b.r.keep)
}

func (b *Ballot) checkVote(id, choice string) error {
	if err := b.check(); err != nil {
		return err
	}
	if err := checkWord("voter", id); err != nil {
		return err
	}
	if b.voters.names != nil && !slices.Contains(b.voters.names, id) {
		return invalidf("voter %.40q is none of %.100q", id, b.voters.names)
	}
	return checkWord("choice", choice)
}

func checkWord(what, s string) error {
	if s == "" || len(s) > MaxKey {
		return invalidf("%s %.40q has %d bytes; it may have 1 to %d", what, s, len(s), MaxKey)
	}
	return checkText(what, s)
}
