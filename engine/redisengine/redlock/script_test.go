package redlock

import (
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/engine/redisengine/internal/lua"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// What one node does, a script at a time: here requests come in any order, and late.
type oneNode struct {
	t *testing.T
	s *redistest.Server
}

const who, other = "AAAAAAAAAAAAAAAAAAAAAAAAAA", "BBBBBBBBBBBBBBBBBBBBBBBBBB"

func (n oneNode) run(s *lua.Script, keys []string, args ...string) any {
	n.t.Helper()
	c := call{s, keys, args}.command()
	c.Args[0], c.Args[1] = "EVAL", s.Source
	return n.s.MustDo(n.t, c.Args...)
}

// vote is a node's count, or what it says instead.
func (n oneNode) vote(id, attempt, mode string) string {
	n.t.Helper()
	v := n.run(theScripts.acquire, nameKeys("n"), id, attempt, "60000", "m:0:0:c:note", mode, "60000")
	if count, ok := v.(string); ok {
		return count
	}
	return reply{v}.text(0)
}

func (n oneNode) holder() string {
	value, _ := n.s.MustDo(n.t, "GET", "n").(string)
	id, rest, _ := strings.Cut(value, marker)
	attempt, _, _ := strings.Cut(rest, ":")
	return id + " " + attempt
}

func (n oneNode) want(holder string) {
	n.t.Helper()
	if got := n.holder(); got != holder {
		n.t.Errorf("the vote is of %q, want %q", got, holder)
	}
}

func TestOneNode(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	for rule, test := range map[string]func(*testing.T, oneNode){
		"it vouches for the attempt that has its vote, and only where it has not counted beyond": vouches,
		"a withdrawal takes its own attempt's vote":                                              withdrawsOwn,
		"a release ends no attempt that began after it":                                          releasesEarlier,
		"an attempt takes over an earlier one's vote, and is not undone by it":                   takesOver,
		"a vote that is asked for twice is one":                                                  votesOnce,
		"a newcomer does not pass those who wait":                                                newcomerWaits,
		"a node that is joined again does not count down":                                        joins,
		"a newer layout is refused":                                                              refusesNewer,
	} {
		t.Run(rule, func(t *testing.T) {
			s.MustDo(t, "FLUSHALL")
			test(t, oneNode{t, s})
		})
	}
}

func vouches(t *testing.T, n oneNode) {
	count := n.vote(who, "5", modeTry)
	token := count[:len(count)-1] + "9" // some beyond it
	write := func(id, attempt, token string) any {
		return n.run(theScripts.write, nameKeys("n")[:2], id, attempt, token)
	}
	for _, wrong := range [][]string{{other, "5"}, {who, "4"}, {who, "6"}} {
		if write(wrong[0], wrong[1], token) != int64(0) {
			t.Errorf("it vouched for %v, which has not its vote", wrong)
		}
	}
	for range 2 {
		if write(who, "5", token) != int64(1) {
			t.Error("it did not vouch for the attempt that has its vote")
		}
	}
	n.s.MustDo(t, "INCR", nameKeys("n")[1])
	if write(who, "5", token) != int64(0) {
		t.Error("it vouched for a token that it has counted beyond")
	}
	n.s.MustDo(t, "DEL", "n")
	if write(who, "5", token+"0") != int64(0) {
		t.Error("it vouched where nobody has its vote")
	}
}

func (n oneNode) withdraw(attempt string) {
	n.t.Helper()
	n.run(theScripts.withdraw, nameKeys("n"), who, attempt, "m:0:0:c:note", "0", "")
}

func withdrawsOwn(_ *testing.T, n oneNode) {
	n.vote(who, "5", modeTry)
	n.withdraw("4")
	n.want(who + " 5")
	n.withdraw("5")
	n.want(" ")
}

func releasesEarlier(t *testing.T, n oneNode) {
	n.vote(who, "5", modeTry)
	if n.run(theScripts.release, nameKeys("n"), who, "4", giveBack) != int64(0) {
		t.Error("a late release ended a later attempt")
	}
	n.want(who + " 5")
	if n.run(theScripts.release, nameKeys("n"), other, "9", giveBack) != int64(0) {
		t.Error("a release ended another's claim (S3)")
	}
	n.want(who + " 5")
	if n.run(theScripts.release, nameKeys("n"), who, "7", giveBack) != int64(1) {
		t.Error("a release did not end its claim")
	}
	n.want(" ")
}

func takesOver(t *testing.T, n oneNode) {
	first := n.vote(who, "5", modeTry)
	second := n.vote(who, "6", modeTry)
	if parseInt(second) <= parseInt(first) {
		t.Errorf("it counted %s, then %s", first, second)
	}
	if said := n.vote(who, "5", modeTry); said != "s" {
		t.Errorf("to an attempt that is late it said %q", said)
	}
	n.want(who + " 6")
}

func votesOnce(t *testing.T, n oneNode) {
	first := n.vote(who, "5", modeTry)
	if again := n.vote(who, "5", modeTry); again != first {
		t.Errorf("it counted %s, and when asked again %s", first, again)
	}
}

func newcomerWaits(t *testing.T, n oneNode) {
	n.vote(who, "5", modeTry)
	if said := n.vote(other, "6", modeNew); said != "h" {
		t.Fatalf("to one that must wait it said %q", said)
	}
	n.withdraw("5")
	for _, mode := range []string{modeTry, modeNew} {
		if said := n.vote(who, "7", mode); said != "h" {
			t.Errorf("to a newcomer it said %q, and another waits", said)
		}
	}
	if said := n.vote(other, "8", modeLine); said == "h" {
		t.Errorf("to the first in line it said %q", said)
	}
	n.want(other + " 8")
}

func joins(t *testing.T, n oneNode) {
	rejoin := func() any {
		return n.run(theScripts.rejoin, nameKeys("n")[:2], who, "5", "1000", "60000", "m:0:0:c:note")
	}
	n.s.MustDo(t, "SET", nameKeys("n")[1], "2000")
	if rejoin() != int64(1) {
		t.Error("nobody has it, and it was not taken again")
	}
	if count := n.s.MustDo(t, "GET", nameKeys("n")[1]); count != "2000" {
		t.Errorf("it counts %v after it was joined with 1000, and counted 2000 before", count)
	}
	n.s.MustDo(t, "SET", "n", "another's")
	if rejoin() != int64(0) || n.s.MustDo(t, "GET", "n") != "another's" {
		t.Error("another has it, and it was taken")
	}
}

func refusesNewer(t *testing.T, n oneNode) {
	n.s.MustDo(t, "SET", "n", who+":redlock2:whatever")
	c := call{theScripts.acquire, nameKeys("n"), []string{other, "1", "60000", "m:0:0:c:note", modeTry, "60000"}}.command()
	c.Args[0], c.Args[1] = "EVAL", theScripts.acquire.Source
	if _, err := n.s.Do(c.Args...); err == nil || !strings.HasPrefix(err.Error(), "LAYOUT") {
		t.Errorf("a newer layout: %v", err)
	}
}
