package lockstep_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep"
)

func vote(t *testing.T, b *lockstep.Ballot, id, choice, counts string) {
	t.Helper()
	got, err := b.Vote(t.Context(), id, choice)
	wantNo(t, err)
	if got != counts {
		t.Errorf("%s votes %q, and %q counts; want %q", id, choice, got, counts)
	}
}

// decided is the decision, which must be there.
func decided(t *testing.T, b *lockstep.Ballot) lockstep.Decision {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	d, err := b.Decision(ctx)
	wantNo(t, err)
	return d
}

func undecided(t *testing.T, b *lockstep.Ballot) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := b.Decision(ctx)
	wantErr(t, err, context.DeadlineExceeded)
}

func TestRulesOfAVote(t *testing.T) {
	for _, c := range []struct {
		rule     lockstep.Rule
		voters   int
		votes    string // one letter each
		open     int    // so many votes decide nothing
		decision string // "-": without a choice
	}{
		{lockstep.RuleMajority, 3, "aab", 1, "a"},
		{lockstep.RuleMajority, 3, "aba", 2, "a"},
		{lockstep.RuleMajority, 3, "abc", 2, "-"},
		{lockstep.RuleMajority, 4, "aabb", 3, "-"},
		{lockstep.RuleMajority, 5, "abcde", 3, "-"},
		{lockstep.RuleMajority, 1, "a", 0, "a"},
		{lockstep.RuleAll, 3, "aaa", 2, "a"},
		{lockstep.RuleAll, 3, "aab", 2, "-"},
		{lockstep.RuleAll, 3, "aba", 1, "-"},
		{lockstep.RuleFirst, 3, "bbc", 0, "b"},
	} {
		t.Run(fmt.Sprintf("%s of %d %s", c.rule, c.voters, c.votes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t)
				b := s.client().Ballot("rollout", lockstep.AnyVoters(c.voters)).Rule(c.rule)
				for i, choice := range strings.Split(c.votes, "") {
					if i <= c.open {
						undecided(t, b)
					}
					vote(t, b, fmt.Sprint("voter ", i), choice, choice)
					if i < c.open {
						continue
					}
					d := decided(t, s.client().Ballot("rollout", lockstep.AnyVoters(c.voters)).Rule(c.rule))
					if got := d.Choice; d.Carried != (c.decision != "-") || d.Carried && got != c.decision || len(d.Votes) != i+1 {
						t.Errorf("after %d votes: %+v; want %s", i+1, d, c.decision)
					}
				}
			})
		})
	}
}

func TestARepeatedVoteReturnsTheFirstChoice(t *testing.T) {
	s := newService(t)
	b := s.client().Ballot("rollout", lockstep.AnyVoters(2)).Rule(lockstep.RuleAll)
	vote(t, b, "a", "yes", "yes")
	vote(t, s.client().Ballot("rollout", lockstep.AnyVoters(2)).Rule(lockstep.RuleAll), "a", "no", "yes")
	vote(t, b, "b", "yes", "yes")
	if d := decided(t, b); !d.Carried || d.Choice != "yes" || len(d.Votes) != 2 {
		t.Errorf("%+v", d)
	}
	vote(t, b, "a", "no", "yes")
}

func TestOnlyVotersVote(t *testing.T) {
	c := newService(t).client()
	named := c.Ballot("named", lockstep.NamedVoters("b", "a", "b"))
	vote(t, named, "a", "yes", "yes")
	_, err := named.Vote(t.Context(), "c", "yes")
	wantErr(t, err, lockstep.ErrInvalid)
	vote(t, c.Ballot("named", lockstep.NamedVoters("a", "b")), "b", "yes", "yes")

	open := c.Ballot("any", lockstep.AnyVoters(1))
	vote(t, open, "a", "yes", "yes")
	_, err = open.Vote(t.Context(), "b", "yes")
	wantErr(t, err, lockstep.ErrInvalid)
}

func TestAVoteOfOtherTermsIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newService(t).client()
		vote(t, c.Ballot("rollout", lockstep.NamedVoters("a", "b")), "a", "yes", "yes")
		for what, other := range map[string]*lockstep.Ballot{
			"3 voters of any ids": c.Ballot("rollout", lockstep.AnyVoters(3)),
			"2 voters of any ids": c.Ballot("rollout", lockstep.AnyVoters(2)),
			`the ids ["a" "c"]`:   c.Ballot("rollout", lockstep.NamedVoters("a", "c")),
			`and the rule "all"`:  c.Ballot("rollout", lockstep.NamedVoters("a", "b")).Rule(lockstep.RuleAll),
		} {
			_, err := other.Vote(t.Context(), "a", "yes")
			wantErr(t, err, lockstep.ErrMismatch)
			_, err = other.Decision(t.Context())
			const is = `the vote has 2 voters of the ids ["a" "b"] and the rule "majority", and was asked for with `
			wantErr(t, err, lockstep.ErrMismatch)
			if _, asked, ok := strings.Cut(err.Error(), is); !ok || !strings.Contains(asked, what) {
				t.Errorf("%s: %v", what, err)
			}
		}
		for what, err := range map[string]error{
			"no voters":    second(c.Ballot("x", lockstep.AnyVoters(0)).Vote(t.Context(), "a", "yes")),
			"rule":         second(c.Ballot("x", lockstep.AnyVoters(1)).Rule("loudest").Vote(t.Context(), "a", "yes")),
			"no id":        second(c.Ballot("x", lockstep.AnyVoters(1)).Vote(t.Context(), "", "yes")),
			"no choice":    second(c.Ballot("x", lockstep.AnyVoters(1)).Vote(t.Context(), "a", "")),
			"long choice":  second(c.Ballot("x", lockstep.AnyVoters(1)).Vote(t.Context(), "a", strings.Repeat("x", 513))),
			"control":      second(c.Ballot("x", lockstep.AnyVoters(1)).Vote(t.Context(), "a", "yes\n")),
			"empty voter":  second(c.Ballot("x", lockstep.NamedVoters("a", "")).Vote(t.Context(), "a", "yes")),
			"deadline":     second(c.Ballot("x", lockstep.AnyVoters(1)).Deadline(-1).Decision(t.Context())),
			"retention":    second(c.Ballot("x", lockstep.AnyVoters(1)).Keep(1).Decision(t.Context())),
			"zero decides": second(new(lockstep.Ballot).Decision(t.Context())),
		} {
			if t.Log(what, err); err == nil {
				t.Errorf("%s: no error", what)
			}
			wantErr(t, err, lockstep.ErrInvalid)
		}
	})
}

func TestTheDeadlineClosesForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		start := time.Now()
		decisions := make(chan lockstep.Decision, 3)
		for i := range cap(decisions) {
			b := s.client().Ballot("rollout", lockstep.AnyVoters(5)).Deadline(time.Minute + time.Duration(i)*time.Second)
			if i > 0 {
				vote(t, b, fmt.Sprint(i), "yes", "yes")
			}
			go func() {
				d, err := b.Decision(t.Context())
				if err != nil {
					t.Error(err)
				}
				decisions <- d
			}()
		}
		first := <-decisions
		for range cap(decisions) - 1 {
			if d := <-decisions; !reflect.DeepEqual(d, first) {
				t.Errorf("%+v and %+v", first, d)
			}
		}
		if took := time.Since(start); first.Carried || len(first.Votes) != 2 || took != time.Minute {
			t.Errorf("after %v: %+v", took, first)
		}
		late := s.client().Ballot("rollout", lockstep.AnyVoters(5))
		for i := range 3 {
			vote(t, late, fmt.Sprint("late ", i), "yes", "yes") // would be the majority
		}
		if d := decided(t, late); d.Carried {
			t.Errorf("the decision has become %+v", d)
		}
	})
}

// Two of five voters are killed at every step in turn. Whether their votes have
// arrived or not, all see one decision, also when the dead come back and vote again.
func TestWhereverVotersDieThereIsOneDecision(t *testing.T) {
	everyDeath(t, func(t *testing.T, d death) int {
		s := newService(t)
		voters := lockstep.NamedVoters("v0", "v1", "v2", "v3", "v4")
		ballot := func(c *lockstep.Client) *lockstep.Ballot { return c.Ballot("rollout", voters).Deadline(time.Minute) }
		var dead, alive sync.WaitGroup
		victims, kill := context.WithCancel(t.Context())
		defer kill()
		var programs []*mortal
		for i := range 2 {
			c, m := s.mortal(d)
			programs = append(programs, m)
			dead.Go(func() {
				b := ballot(c)
				if _, err := b.Vote(victims, fmt.Sprint("v", i), "no"); err == nil {
					b.Decision(victims)
				}
			})
		}
		synctest.Wait()
		var mu sync.Mutex
		var all []lockstep.Decision
		for i, choice := range []string{"yes", "yes", "no"} {
			b := ballot(s.client())
			alive.Go(func() {
				if counts, err := b.Vote(t.Context(), fmt.Sprint("v", i+2), choice); err != nil || counts != choice {
					t.Errorf("%+v: vote %q, %v", d, counts, err)
				}
				decision, err := b.Decision(t.Context())
				if err != nil {
					t.Errorf("%+v: %v", d, err)
				}
				mu.Lock()
				defer mu.Unlock()
				all = append(all, decision)
			})
		}
		alive.Wait()
		kill()
		dead.Wait()
		for i := range 2 { // the dead have come back
			vote(t, ballot(s.client()), fmt.Sprint("v", i), "no", "no")
		}
		all = append(all, decided(t, ballot(s.client())))
		for _, decision := range all {
			if decision.Carried != all[0].Carried || decision.Choice != all[0].Choice {
				t.Errorf("%+v: decisions %+v and %+v", d, all[0], decision)
			}
		}
		return max(programs[0].made(), programs[1].made())
	})
}
