package main

import "testing"

// The short form of what the command explores, and every rule left out.
func TestPromisesHoldAndEveryRuleIsNeeded(t *testing.T) {
	t.Parallel()
	for i := range cases {
		cfg := cases[i]
		if cfg.long {
			continue
		}
		if cfg.broken == nothing {
			cfg.counted = 0
		}
		t.Run(cfg.name, func(t *testing.T) {
			t.Parallel()
			x := explore(&cfg, false)
			verdict, ok := judge(&cfg, x)
			t.Logf("%d states, %d steps: %s", x.seen.n, x.steps, verdict)
			if !ok {
				t.Error(verdict)
			}
		})
	}
}

// A fault comes with the way to it.
func TestAFaultIsShownWithItsWay(t *testing.T) {
	t.Parallel()
	for i := range cases {
		if cases[i].broken != noSecondRound {
			continue
		}
		x := explore(&cases[i], true)
		if x.fault == "" || len(x.way) < 5 {
			t.Errorf("fault %q, by %q", x.fault, x.way)
		}
	}
}
