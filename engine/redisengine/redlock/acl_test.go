package redlock

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// documented is what docs/engines/redlock.md has after ACL SETUSER.
func documented(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../../docs/engines/redlock.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "ACL SETUSER lockstep ")
	rules, _, ends := strings.Cut(rest, "\n\n")
	if !found || !ends {
		t.Fatal("the page has no ACL SETUSER")
	}
	return strings.Fields(strings.NewReplacer("'", "", "\\\n", " ", ">PASSWORD", ">geheim").Replace(rules))
}

func TestTheUserOfThisPageMayDoAllThatRedlockNeeds(t *testing.T) {
	t.Parallel()
	nodes := start(t, 3)
	for _, n := range nodes {
		n.MustDo(t, append([]string{"ACL", "SETUSER", "lockstep"}, documented(t)...)...)
		n.MustDo(t, "ACL", "SETUSER", "default", "-@all", "+acl", "+set", "+keys", "+get", "+pubsub")
	}
	open := func() *client {
		ts, err := transports(t.Context(), engine.Target{
			Scheme: scheme, Hosts: addresses(nodes), User: "lockstep", Password: "geheim", Params: map[string]string{},
		})
		if err != nil {
			t.Fatal(err)
		}
		return clientOn(t, openOver(t, ts, young), ttl)
	}
	a, b := open(), open()
	nodes[0].MustDo(t, "SET", nameKeys("n")[1], "4503599627370496") // counts differ: a second round
	held := mutex("n")
	a.take(held)
	next := b.queue(mutex("n"))
	behind := b.queue(mutex("n"))
	a.renew(held)
	b.renew(next.claim, behind.claim)
	if err := a.SetNote(guarded(t), held, []byte("a note")); err != nil {
		t.Error(err)
	}
	if _, err := a.Acquire(guarded(t), try(mutex("n")), false); err == nil {
		t.Error("granted what is held")
	}
	a.give(held)
	next.granted()
	if err := a.e.Remove(guarded(t), "n", behind.claim.ID); err != nil {
		t.Error(err)
	}
	<-behind.done
	var names []string
	for name, err := range a.e.Names(guarded(t), "") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if !slices.Equal(names, []string{"n"}) {
		t.Errorf("names %q", names)
	}
	nothingRefused(t, nodes)
	b.give(next.claim)
}

// nothingRefused looks whether a server refused anything: scripts may overlook that.
func nothingRefused(t *testing.T, nodes []*redistest.Server) {
	t.Helper()
	for _, n := range nodes {
		log, _ := n.MustDo(t, "ACL", "LOG").([]any)
		for _, entry := range log {
			// rueidis tells its name and version since 7.2, and does without.
			if fields := (reply{entry}); !slices.Contains(fields.v.([]any), any("client|setinfo")) {
				t.Errorf("a server refused %v", entry)
			}
		}
	}
}
