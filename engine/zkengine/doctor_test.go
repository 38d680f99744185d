package zkengine

import (
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/zktest"
)

// finds wants a finding that contains the text, at this level.
func finds(t *testing.T, all []engine.Finding, level engine.Level, text string) {
	t.Helper()
	for _, f := range all {
		if f.Level == level && strings.Contains(f.What, text) {
			return
		}
	}
	t.Errorf("no finding of level %v says %q: %+v", level, text, all)
}

func examine(t *testing.T, url string) []engine.Finding {
	t.Helper()
	e := openURL(t, url)
	defer e.Close()
	all, err := e.Examine(guarded(t))
	if err != nil {
		t.Fatalf("Examine: %v", err)
	}
	return all
}

func TestTheDoctorLooksAtAServerThatStandsAlone(t *testing.T) {
	t.Parallel()
	all := examine(t, "zk://"+server(t).Addr)
	finds(t, all, engine.LevelWarning, "stands alone")
	finds(t, all, engine.LevelOK, "is ZooKeeper 3.")
	finds(t, all, engine.LevelOK, "sessions live from 1s to 1h")
	finds(t, all, engine.LevelOK, "any number of connections")
	finds(t, all, engine.LevelNote, "everybody may change them")
}

func TestTheDoctorSeesSessionsThatAreShorterThanTwoTicks(t *testing.T) {
	t.Parallel()
	s := zktest.Start(t, zktest.Options{Config: []string{"minSessionTimeout=500", "4lw.commands.whitelist=srvr,conf"}})
	finds(t, examine(t, "zk://u:p@"+s.Addr), engine.LevelDanger, "a tick is 500ms")
}

func TestTheDoctorSaysWhatItMayNotAsk(t *testing.T) {
	t.Parallel()
	s := zktest.Start(t, zktest.Options{Config: []string{"4lw.commands.whitelist=srvr"}})
	finds(t, examine(t, "zk://"+s.Addr), engine.LevelNote, "bounds of session timeouts could not be learned")
}

func TestTheDoctorLooksAtAnEnsemble(t *testing.T) {
	t.Parallel()
	e := zktest.StartEnsemble(t, 3, zktest.Options{})
	finds(t, examine(t, e.URL()), engine.LevelOK, "an ensemble of 3; 3 of the 3 servers of the URL serve")
	e.Follower().Kill()
	e.Leader()
	finds(t, examine(t, e.URL()), engine.LevelWarning, "does not answer")
}
