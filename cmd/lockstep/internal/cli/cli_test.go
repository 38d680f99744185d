package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

func TestDurationsAreGosOrPlainSeconds(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30": 30 * time.Second, "0.5": 500 * time.Millisecond, "1m30s": 90 * time.Second, "0": 0,
		"1e2": 100 * time.Second, "250ms": 250 * time.Millisecond,
	} {
		var s seconds
		if err := s.Set(text); err != nil || s.d != want || !s.given {
			t.Errorf("%s: %v, %v", text, s.d, err)
		}
	}
	for _, text := range []string{"", "-1", "-1s", "soon", "NaN", "Inf", "1e300", "9223372036.9", "1 s"} {
		if err := new(seconds).Set(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestAURLIsShownWithoutItsPassword(t *testing.T) {
	for raw, want := range map[string]string{
		"redis://u:p@h:1/0?x=a@b":        "redis://u@h:1/0?x=a@b",
		"redis://:p@h":                   "redis://h",
		"redis://u@h":                    "redis://u@h",
		"etcd://u:p@a:1,[::1]:2/x":       "etcd://u@a:1,[::1]:2/x",
		"redis://u:p@ss@h":               "redis://u@h",
		"file:///a@b/c:d@e":              "file:///a@b/c:d@e",
		"file:relative@dir":              "file:relative@dir",
		"redis+unix://u:p@/run/r.sock":   "redis+unix://u@/run/r.sock",
		"zk://u:pa:ss@a,b,c/chroot?q=1#": "zk://u@a,b,c/chroot?q=1#",
	} {
		if got := withoutPassword(raw); got != want {
			t.Errorf("%s became %s, not %s", raw, got, want)
		}
	}
}

func TestEachErrorHasItsExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
	}{
		{nil, 0},
		{lockstep.ErrInvalid, 64},
		{lockstep.ErrHeld, 75},
		{lockstep.ErrNotFound, 1},
		{lockstep.ErrLost, 70},
		{lockstep.ErrUnavailable, 69},
		{lockstep.ErrUnsupported, 69},
		{lockstep.ErrMismatch, 69},
		{engine.ErrUnusable, 69},
		{context.DeadlineExceeded, 69},
		{errors.New("anything else"), 69},
		{usage("x"), 64},
		{quit(3), 3},
		{errors.Join(quit(3), errors.New("close")), 3},
	} {
		err := c.err
		if err != nil {
			err = fmt.Errorf("lock %q: %w", "n", err)
		}
		if got := codeOf(err); got != c.code {
			t.Errorf("%v: %d, not %d", c.err, got, c.code)
		}
	}
}

func TestAnErrorIsOneLine(t *testing.T) {
	err := errors.Join(errors.New("lockstep: lock: a"), errors.New("b\nc"))
	if got := plain(err); got != "lock: a; b; c" {
		t.Errorf("%q", got)
	}
}

func TestTheChildsEnvironmentReplacesAnOuterLocks(t *testing.T) {
	got := childEnv([]string{"A=1", "LOCKSTEP_NAME=outer", "LOCKSTEP_TOKEN=1", "LOCKSTEP_URL=u:p", "LOCKSTEP_PASSWORD=p",
		"LOCKSTEP_TICK=t", "LOCKSTEP_ID=i", "LOCKSTEP_NAMES=kept"},
		[]string{"a", "b"}, []lockstep.Token{7, 8}, "file:///x")
	want := []string{"A=1", "LOCKSTEP_NAMES=kept", "LOCKSTEP_NAME=a\nb", "LOCKSTEP_TOKEN=7\n8", "LOCKSTEP_URL=file:///x"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestTextFromElsewhereCannotMoveTheCursor(t *testing.T) {
	for in, quoted := range map[string]bool{"plain näme 名": false, "a\x1b[2J": true, "a\rb": true, "tab\t": true, "\xff": true} {
		if got := shown(in); (got != in) != quoted || strings.ContainsAny(got, "\x1b\r\t") {
			t.Errorf("%q is shown as %q", in, got)
		}
	}
}

func TestOrdinals(t *testing.T) {
	for n, want := range map[int]string{1: "1st", 2: "2nd", 3: "3rd", 4: "4th", 11: "11th", 12: "12th", 13: "13th", 21: "21st", 111: "111th"} {
		if got := ordinal(n); got != want {
			t.Errorf("%d is %s", n, got)
		}
	}
}

func TestTheStateDirectoryFollowsTheUser(t *testing.T) {
	t.Setenv("LOCKSTEP_URL", "")
	t.Setenv("XDG_STATE_HOME", "/state of mine")
	if got, err := new(app).url(); err != nil || got != "file:///state%20of%20mine/lockstep" {
		t.Errorf("%s, %v", got, err)
	}
	t.Setenv("LOCKSTEP_URL", "etcd://a")
	if got, _ := new(app).url(); got != "etcd://a" {
		t.Errorf("%s", got)
	}
	if got, _ := (&app{engine: "redis://b"}).url(); got != "redis://b" {
		t.Errorf("%s", got)
	}
}

func TestFindingsAreGroupedWrappedAndQuoted(t *testing.T) {
	findings := []engine.Finding{
		{Level: engine.LevelDanger, What: "one \x1b[2Jthat clears", Why: strings.Repeat("word ", 30), Fix: "do it"},
		{Level: engine.LevelOK, What: "another"},
	}
	for _, colour := range []bool{false, true} {
		p := findingsPrinter{width: 40, colour: colour}
		p.print("redis://h", findings)
		got := p.text.String()
		if strings.Contains(got, "\x1b[2J") || strings.Contains(got, "\x1b") != colour {
			t.Errorf("colour %v: %q", colour, got)
		}
		inOrder := strings.Index(got, "danger") < strings.Index(got, "another")
		if !strings.Contains(got, "      → do it\n") || !inOrder || strings.Contains(got, "warning") {
			t.Errorf("%s", got)
		}
		for line := range strings.Lines(got) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 40 && !colour {
				t.Errorf("%d columns: %q", n, line)
			}
		}
	}
}
