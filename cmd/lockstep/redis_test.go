//go:build unix

package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/internal/redistest"
)

// The command over a real Redis: what differs from a directory is who takes part,
// what a password is, and that its server can be examined.

// newRedisWorld is a world whose engine is a server of its own.
func newRedisWorld(t *testing.T, o redistest.Options) (*world, *redistest.Server) {
	t.Helper()
	s := redistest.StartWith(t, o)
	w := newWorld(t)
	w.url = "redis://" + s.Addr
	return w, s
}

func TestOverRedisOneProcessAtATimeRunsInOrderOfItsToken(t *testing.T) {
	w, _ := newRedisWorld(t, redistest.Options{})
	takeTurns(t, w, 4, 10)
}

func TestOverRedisLocksAreSeenAndTakenAway(t *testing.T) {
	w, _ := newRedisWorld(t, redistest.Options{})
	seeAndTakeAway(t, w, true)
}

func TestOverRedisValuesAreSharedAndWatched(t *testing.T) {
	w, _ := newRedisWorld(t, redistest.Options{})
	shareValues(t, w)
}

func TestARedisThatCannotBeUsedIsOneLineAnd69(t *testing.T) {
	w, s := newRedisWorld(t, redistest.Options{Password: "geheim"})
	w.unusable("password", "lock", "n", "--", "true")
	w.env = []string{"LOCKSTEP_PASSWORD=falsch"}
	w.unusable("password", "lock", "n", "--", "true")
	w.env = []string{"LOCKSTEP_PASSWORD=geheim"}
	out, _ := w.expect(0, "lock", "n", "-c", `echo "$LOCKSTEP_URL $LOCKSTEP_PASSWORD"`)
	if out != w.url+" \n" {
		t.Errorf("the command's environment: %q", out)
	}
	s.Stop()
	w.unusable("connect", "lock", "n", "--", "true")
}

func TestDoctorExitsByTheWorstThatItFinds(t *testing.T) {
	w, s := newRedisWorld(t, redistest.Options{})
	out, _ := w.expect(0, "doctor")
	for _, part := range []string{w.url, "\nwarning\n", "nothing is written to disk", "→ CONFIG SET appendonly yes", "\nok\n"} {
		if !strings.Contains(out, part) {
			t.Errorf("it misses %q:\n%s", part, out)
		}
	}
	s.MustDo(t, "CONFIG", "SET", "maxmemory", "1gb", "maxmemory-policy", "volatile-lru")
	if out, _ = w.expect(1, "doctor", w.url); !strings.Contains(out, "\ndanger\n  maxmemory-policy is volatile-lru") {
		t.Errorf("%s", out)
	}
	out, _ = w.expect(1, "doctor", "--json")
	var got struct {
		Engine, Worst string
		Findings      []struct{ Level, What, Why, Fix string }
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got.Engine != w.url || got.Worst != "danger" || len(got.Findings) < 5 || got.Findings[0].Level != "danger" || got.Findings[0].Fix == "" {
		t.Errorf("%s", out)
	}
	s.Stop()
	w.unusable("connect", "doctor")
	w.expect(64, "doctor", w.url, "and more")
	w.expect(64, "doctor", w.url+"?no=such")
}

func TestDoctorShowsNoPassword(t *testing.T) {
	w, s := newRedisWorld(t, redistest.Options{Password: "geheim"})
	w.url = s.URL()
	for _, args := range [][]string{{"doctor"}, {"doctor", "--json"}, {"doctor", "-v", w.url}} {
		if out, err := w.expect(0, args...); strings.Contains(out+err, "geheim") {
			t.Errorf("%v: %s%s", args, out, err)
		}
	}
	if _, err := w.expect(69, "doctor", strings.Replace(w.url, "geheim", "ganzgeheim", 1)); strings.Contains(err, "geheim") {
		t.Errorf("%s", err)
	}
}

func TestDoctorSaysThatADirectoryHasNoExamination(t *testing.T) {
	w := newWorld(t)
	if out, _ := w.expect(0, "doctor"); !strings.Contains(out, "no examination") {
		t.Errorf("%s", out)
	}
	w.write("file", "")
	w.expect(64, "doctor", "file://"+w.path("file"))
}
