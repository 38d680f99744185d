package sqliteengine

import "testing"

func TestProcessStateIsReadAfterTheProgramsName(t *testing.T) {
	for stat, want := range map[string]string{
		"12 (sh) T 1 2":           "stopped",
		"12 (a) S) R (b) D 1 2":   "waiting for the disk",
		"12 (odd name) t 1":       "stopped",
		"":                        "state unknown",
		"12 (no end":              "state (no",
		"12 (x) S 1":              "running",
		"12 (x) Z 1":              "dead",
		"12 (x)":                  "state unknown",
		"99 (weird) stuff) I 1 2": "state I",
	} {
		if want == "state (no" { // no parenthesis: anything but a panic
			_ = parseState(stat)
			continue
		}
		if got := parseState(stat); got != want {
			t.Errorf("%q: %q, want %q", stat, got, want)
		}
	}
}

func FuzzProcessState(f *testing.F) {
	f.Add("12 (a) b) T 1")
	f.Fuzz(func(t *testing.T, stat string) {
		if parseState(stat) == "" {
			t.Errorf("%q has no state", stat)
		}
	})
}
