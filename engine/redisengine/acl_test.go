package redisengine

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/enginetest"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// documented is what docs/engines/redis.md has after ACL SETUSER: the rules of
// the user that an engine needs.
func documented(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/engines/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "ACL SETUSER lockstep ")
	rules, _, ends := strings.Cut(rest, "\n\n")
	if !found || !ends {
		t.Fatal("the page has no ACL SETUSER")
	}
	return strings.Fields(strings.NewReplacer("'", "", "\\\n", " ").Replace(rules))
}

const documentedPassword = "geheim"

// makeDocumented makes the user of the page, with some rules added.
func makeDocumented(t *testing.T, s *redistest.Server, more ...string) {
	t.Helper()
	rules := documented(t)
	for i, r := range rules {
		if r == ">PASSWORD" {
			rules[i] = ">" + documentedPassword
		}
	}
	s.MustDo(t, append(append([]string{"ACL", "SETUSER", "lockstep"}, rules...), more...)...)
}

func documentedTarget(s *redistest.Server) engine.Target {
	return engine.Target{
		Scheme: schemeTCP, Hosts: []string{s.Addr}, User: "lockstep", Password: documentedPassword, Params: map[string]string{},
	}
}

// nothingRefused looks whether the server refused anything: scripts may overlook
// that.
func nothingRefused(t *testing.T, s *redistest.Server) {
	t.Helper()
	log, _ := s.MustDo(t, "ACL", "LOG").([]any)
	for _, entry := range log {
		// rueidis tells its name and version since 7.2, and does without.
		if what := fieldOf(entry, "object"); what != "client|setinfo" {
			t.Errorf("the server refused %v", entry)
		}
	}
}

func TestTheUserOfThisPageMayDoAllThatIsNeeded(t *testing.T) {
	s := redistest.Start(t)
	makeDocumented(t, s)
	t.Run("suite", func(t *testing.T) {
		enginetest.Run(t, enginetest.Harness{
			Open:       func(t enginetest.TB) engine.Engine { return openTarget(t, documentedTarget(s)) },
			ClaimsOnly: true,
		})
	})
	nothingRefused(t, s)
}

func openTarget(t enginetest.TB, target engine.Target) engine.Engine {
	t.Helper()
	e, err := Driver.Open(t.Context(), target)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return e
}

func TestAUserOfSomeNamesWorksWithAPrefix(t *testing.T) {
	s := redistest.Start(t)
	s.MustDo(t, "SET", "another program's", "data")
	makeDocumented(t, s, "resetkeys", "~app:*", "~{app:*")
	target := documentedTarget(s)
	target.Params[paramPrefix] = "app:"
	useAll(t, openTarget(t, target), openTarget(t, target))
	nothingRefused(t, s)
	keys, _ := s.MustDo(t, "KEYS", "*").([]any)
	for _, k := range keys {
		if k, _ := k.(string); !strings.HasPrefix(k, "app:") && !strings.HasPrefix(k, "{app:") && k != "another program's" {
			t.Errorf("a key of another name: %s", k)
		}
	}
}

// useAll locks, renews, waits, hands over, lists names, writes a map and watches it,
// and closes both.
func useAll(t *testing.T, a, b engine.Engine) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sa, first := begin(t, a)
	sb, second := begin(t, b)
	g, err := sa.Acquire(ctx, first, false)
	if err != nil {
		t.Fatal(err)
	}
	next := make(chan engine.Grant, 1)
	go func() {
		g, err := sb.Acquire(ctx, second, false)
		if err != nil {
			t.Errorf("the next: %v", err)
		}
		next <- g
	}()
	await(t, "somebody waits", func() bool {
		l, err := a.Line(ctx, "n")
		return err == nil && len(l.Holders) == 1 && len(l.Waiters) == 1
	})
	for s, c := range map[engine.Session]*engine.Claim{sa: first, sb: second} {
		if r, err := s.Renew(ctx, []*engine.Claim{c}); err != nil || len(r.Lost)+len(r.Unsure) > 0 {
			t.Errorf("renew: %+v, %v", r, err)
		}
	}
	for name, err := range a.Names(ctx, "") {
		if err != nil || name != "n" {
			t.Errorf("names: %q, %v", name, err)
		}
	}
	if _, err := sa.Release(ctx, first); err != nil {
		t.Fatal(err)
	}
	if h := <-next; h.Token <= g.Token {
		t.Errorf("token %d after %d", h.Token, g.Token)
	}
	if err := errors.Join(sa.End(ctx, nil), sb.End(ctx, []*engine.Claim{second})); err != nil {
		t.Error(err)
	}
	watchOne(t, a, b)
	for _, e := range []engine.Engine{a, b} {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

func begin(t *testing.T, e engine.Engine) (engine.Session, *engine.Claim) {
	t.Helper()
	s, err := e.Begin(t.Context(), engine.SessionOptions{TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return s, &engine.Claim{ID: engine.ClaimID(rand.Text()), Name: "n", Kind: engine.Mutex, Shares: 1, Limit: 1}
}

// watchOne has a see what b writes.
func watchOne(t *testing.T, a, b engine.Engine) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	full := false
	for ev, err := range a.Store().Watch(ctx, "m", 0) {
		switch {
		case err != nil:
			t.Fatalf("watch: %v", err)
		case !full:
			full = true
			if _, err := b.Store().Commit(ctx, "m", engine.Tx{ID: rand.Text(), Put: []engine.Entry{{Key: "k", Value: []byte("v")}}}); err != nil {
				t.Fatal(err)
			}
		case len(ev.Entries) == 1:
			if string(ev.Entries[0].Value) != "v" {
				t.Errorf("%+v", ev)
			}
			return
		}
	}
}

// The page names what the engine sends, and no more but PING and EVAL.
func TestTheUserOfThisPageMayDoNothingElse(t *testing.T) {
	var want, got []string
	for _, p := range needed() {
		if name := "+" + strings.ToLower(p.command); !slices.Contains(want, name) {
			want = append(want, name)
		}
	}
	want = append(want, "+ping", "+eval")
	for _, r := range documented(t) {
		if strings.HasPrefix(r, "+") {
			got = append(got, r)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the page has %v, needed is %v", got, want)
	}
}

func TestWithoutChannelsTheEngineDoesNotOpen(t *testing.T) {
	s := redistest.Start(t)
	makeDocumented(t, s, "resetchannels")
	e, err := Driver.Open(t.Context(), documentedTarget(s))
	if !errors.Is(err, engine.ErrUnusable) || !strings.Contains(err.Error(), "channels") || strings.Contains(err.Error(), documentedPassword) {
		t.Errorf("open: %v, %v", e, err)
	}
	if n := s.MustDo(t, "DBSIZE"); n != int64(0) {
		t.Errorf("%v keys were made", n)
	}
}
