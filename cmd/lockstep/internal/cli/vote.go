package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lockstep-go/lockstep"
)

const voteHelp = `Votes for CHOICE in the vote NAME, waits for the decision, and prints it: the same for
all who vote, and for ever the same, whoever crashes when. Each voter votes once, under
an id of its own (--as): a repeat, as after a crash, changes nothing and waits for the
decision again.

--voters is how many there are, or their ids with commas between them. All of them say
the same voters and rule. The rules: majority (more than half of all voters), all
(every voter) or first (the first vote decides).

Exit codes: 0 the decision is printed, whoever's choice it is
   1  there is no decision and never will be: the rule cannot be met any more, or the
      --deadline of one who waits has passed, which ends the vote for all
  75  --timeout has passed: the vote counts, and goes on; --conflict-exit-code gives
      another
  64, 69 as for a lock: see lockstep lock --help

A question is its name: put what is asked into it (deploy/v1.4.2). The decision is kept
for --keep after the last vote, 24h unless told otherwise.`

type voteFlags struct {
	waitFlags

	as       string
	voters   string
	rule     string
	deadline seconds
	keep     seconds
}

func (a *app) voteCommand() *cobra.Command {
	var f voteFlags
	cmd := &cobra.Command{
		Use:   "vote NAME CHOICE --as ID --voters N [--rule majority|all|first]",
		Short: "Vote, wait for the decision and print it",
		Long:  voteHelp,
		Example: `  lockstep vote deploy/v1.4.2 yes --as "$(hostname)" --voters 3
  lockstep vote deploy/v1.4.2 no --as b --voters a,b,c --rule all --deadline 1m`,
		Args: between(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.complete(); err != nil {
				return err
			}
			return a.await(cmd.Context(), &f.waitFlags, args[0], "no decision yet; the vote goes on", func(w *wait, c *lockstep.Client) error {
				return a.vote(w, c, &f, args[0], args[1])
			})
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f.register(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.as, "as", "", "the `id` of this voter, its own for ever")
	fl.StringVar(&f.voters, "voters", "", "how many vote, or their ids with commas between them: `N`")
	fl.StringVar(&f.rule, "rule", string(lockstep.RuleMajority), "what decides: `majority`, all or first")
	fl.Var(&f.deadline, "deadline", "end the vote, for all, when this has waited for this `duration` (default: none)")
	keepFlag(cmd, &f.keep)
	return cmd
}

func keepFlag(cmd *cobra.Command, keep *seconds) {
	cmd.Flags().Var(keep, "keep", "how long the engine keeps what came of it: `duration` (default 24h)")
}

// complete checks that nothing is left out.
func (f *voteFlags) complete() error {
	switch {
	case f.as == "":
		return usage("who votes? --as ID, an id of this voter's own")
	case f.voters == "":
		return usage("of how many voters? --voters N, or --voters a,b,c")
	}
	return nil
}

func (f *voteFlags) ballot(c *lockstep.Client, name string) *lockstep.Ballot {
	voters := lockstep.NamedVoters(strings.Split(f.voters, ",")...)
	if n, err := strconv.Atoi(f.voters); err == nil {
		voters = lockstep.AnyVoters(n)
	}
	b := c.Ballot(name, voters).Rule(lockstep.Rule(f.rule))
	if f.deadline.given {
		b = b.Deadline(f.deadline.d)
	}
	if f.keep.given {
		b = b.Keep(f.keep.d)
	}
	return b
}

func (a *app) vote(w *wait, c *lockstep.Client, f *voteFlags, name, choice string) error {
	b := f.ballot(c, name)
	counts, err := b.Vote(w, f.as, choice)
	if err != nil {
		return err
	}
	if counts != choice {
		a.warn(fmt.Sprintf("%s has voted before, for %s, and that stays", shown(f.as), shown(counts)))
	}
	a.note("%s has voted %s, and waits for the decision", shown(f.as), shown(counts))
	d, err := b.Decision(w)
	if err != nil {
		return err
	}
	switch {
	case a.json:
		err = a.printJSON(jsonDecision{name, d.Carried, d.Choice, counts, votesJSON(d.Votes)})
	case d.Carried:
		_, err = fmt.Fprintln(a.out, d.Choice)
	}
	if err == nil && !d.Carried {
		return a.absent(fmt.Errorf("%q: the vote ended without a decision: %s", name, tally(d.Votes)))
	}
	return err
}

// tally is how many voted for what, in the order of the first vote for each.
func tally(votes []lockstep.Vote) string {
	var choices []string
	count := map[string]int{}
	for _, v := range votes {
		if count[v.Choice]++; !slices.Contains(choices, v.Choice) {
			choices = append(choices, v.Choice)
		}
	}
	for i, choice := range choices {
		choices[i] = fmt.Sprintf("%d for %s", count[choice], shown(choice))
	}
	if len(choices) == 0 {
		return "nobody voted"
	}
	return strings.Join(choices, ", ")
}

// jsonDecision is what a vote came to.
type jsonDecision struct {
	Name    string     `json:"name"`
	Carried bool       `json:"carried"`
	Choice  string     `json:"choice,omitempty"`
	Own     string     `json:"own"` // the choice that counts for this voter
	Votes   []jsonVote `json:"votes"`
}

type jsonVote struct {
	Voter  string `json:"voter"`
	Choice string `json:"choice"`
}

func votesJSON(votes []lockstep.Vote) []jsonVote {
	all := make([]jsonVote, len(votes))
	for i, v := range votes {
		all[i] = jsonVote(v)
	}
	return all
}
