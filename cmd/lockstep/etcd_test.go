//go:build unix

package main

import (
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/internal/etcdtest"
)

// newEtcdWorld is a world whose engine is a server of its own.
func newEtcdWorld(t *testing.T) (*world, *etcdtest.Member) {
	t.Helper()
	s := etcdtest.Start(t, "--unsafe-no-fsync")
	w := newWorld(t)
	w.url = s.URL()
	return w, s
}

func TestOverEtcdOneProcessAtATimeRunsInOrderOfItsToken(t *testing.T) {
	w, _ := newEtcdWorld(t)
	takeTurns(t, w, 4, 5)
}

func TestOverEtcdLocksAreSeenAndTakenAway(t *testing.T) {
	w, _ := newEtcdWorld(t)
	seeAndTakeAway(t, w, false)
}

func TestOverEtcdValuesAreSharedAndWatched(t *testing.T) {
	w, _ := newEtcdWorld(t)
	shareValues(t, w)
}

func TestAnEtcdThatCannotBeUsedIsOneLineAnd69(t *testing.T) {
	w, s := newEtcdWorld(t)
	out, _ := w.expect(0, "doctor")
	for _, part := range []string{"warning\n  the cluster has one member", "a quorum answers", "no alarm is raised"} {
		if !strings.Contains(out, part) {
			t.Errorf("doctor misses %q:\n%s", part, out)
		}
	}
	s.Kill()
	w.unusable("connect", "lock", "n", "--", "true")
	w.unusable("connect", "doctor")
	w.expect(64, "lock", "--engine", w.url+"?no=such", "n", "--", "true")
}
