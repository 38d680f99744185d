package main

// config is one case.
type config struct {
	name     string
	nodes    int
	attempts int
	counted  uint8 // what a node counted before: 0 to this
	repeats  uint8 // requests for a vote that arrive once more
	losses   uint8 // times that a node loses its data
	seed     uint8 // its count begins here then, times the losses so far
	jump     uint8 // a vote may count further by this: the clock moved on
	anytime  bool  // claims end at nodes at any moment
	refusals bool  // that a node refused, declined, or is silent, is told
	rejoin   bool  // a holder takes nodes again that nobody has
	oneClaim bool  // the first two attempts are of one claim
	broken   rule  // what is left out
	long     bool  // only in the long form
}

// claim is the first attempt of c's claim.
func (cfg *config) claim(c int) int {
	if cfg.oneClaim && c == 1 {
		return 0
	}
	return c
}

// rule is something that is left out to see that it is missed.
type rule string

const (
	nothing          rule = ""
	noSecondRound    rule = "the greatest count is the token at once"
	noOwnerCheck     rule = "a token is written whoever has the name"
	noGuard          rule = "a token is vouched for where the count is beyond it"
	countsFromZero   rule = "a count that was lost begins at 0"
	votesAtOnce      rule = "a node that lost its data votes at once"
	withdrawAny      rule = "a withdrawal takes a later attempt's vote"
	rejoinCountsDown rule = "a node that is taken again counts down"
	orderOfGrants    rule = "tokens rise in the order of grants (which is not promised)"
)

// cases are what is explored. Those whose rule is broken must fail.
var cases = []config{
	{name: "tokens, 2 attempts", nodes: 3, attempts: 2, counted: 2, anytime: true},
	{name: "tokens, refusals and silence", nodes: 3, attempts: 2, anytime: true, refusals: true, long: true},
	{name: "tokens, repeats, one claim, taken again", nodes: 3, attempts: 2, counted: 1, repeats: 1, anytime: true, rejoin: true, oneClaim: true},
	{name: "tokens, clocks move on", nodes: 3, attempts: 2, jump: 1, anytime: true},
	{name: "tokens, a loss", nodes: 3, attempts: 2, losses: 1, seed: 20, anytime: true},
	{name: "exclusion, refusals and silence", nodes: 3, attempts: 2, refusals: true},
	{name: "exclusion, one claim, a repeat", nodes: 3, attempts: 2, repeats: 1, oneClaim: true, rejoin: true},
	{name: "exclusion, a loss", nodes: 3, attempts: 2, losses: 1, seed: 20, rejoin: true},

	{name: "tokens, 3 attempts", nodes: 3, attempts: 3, anytime: true, long: true},
	{name: "tokens, 2 attempts, two repeats", nodes: 3, attempts: 2, counted: 2, repeats: 2, anytime: true, rejoin: true, oneClaim: true, long: true},
	{name: "tokens, 2 attempts, two losses", nodes: 3, attempts: 2, counted: 1, losses: 2, seed: 20, anytime: true, rejoin: true, long: true},
	{name: "tokens, 5 nodes, 2 attempts", nodes: 5, attempts: 2, anytime: true, long: true},
	{name: "exclusion, 3 attempts, a repeat, one claim", nodes: 3, attempts: 3, repeats: 1, oneClaim: true, rejoin: true, long: true},
	{name: "exclusion, 3 attempts, a loss", nodes: 3, attempts: 3, losses: 1, seed: 20, rejoin: true, long: true},

	{name: "broken: no second round", nodes: 3, attempts: 2, counted: 2, anytime: true, broken: noSecondRound},
	{name: "broken: no owner check", nodes: 3, attempts: 2, counted: 2, anytime: true, broken: noOwnerCheck},
	{name: "broken: no guard", nodes: 3, attempts: 3, anytime: true, broken: noGuard},
	{name: "broken: counts from zero", nodes: 3, attempts: 2, counted: 1, losses: 1, seed: 0, anytime: true, broken: countsFromZero},
	{name: "broken: votes at once", nodes: 3, attempts: 2, losses: 1, seed: 20, broken: votesAtOnce},
	{name: "broken: withdraws any", nodes: 3, attempts: 3, oneClaim: true, broken: withdrawAny},
	{name: "broken: counts down", nodes: 3, attempts: 2, counted: 1, anytime: true, rejoin: true, broken: rejoinCountsDown},
	{name: "broken: order of grants", nodes: 3, attempts: 2, counted: 2, anytime: true, broken: orderOfGrants},
}
