package need

import (
	"fmt"
	"strings"
	"testing"
)

type recorder struct{ skipped, failed string }

func (r *recorder) Helper()                        {}
func (r *recorder) Fatalf(format string, a ...any) { r.failed = fmt.Sprintf(format, a...); panic(r) }

type skipper struct{ *recorder }

func (s skipper) Skipf(format string, a ...any) { s.skipped = fmt.Sprintf(format, a...); panic(s) }

func TestWhatIsMissingSkipsUnlessItIsRequired(t *testing.T) {
	missing := func(t TB) { defer func() { _ = recover() }(); Program(t, "no-such-program", "no-such-package") }
	for _, c := range []struct {
		required  string
		canSkip   bool
		wantsSkip bool
	}{{"", true, true}, {"all", true, false}, {"", false, false}} {
		t.Setenv("LOCKSTEP_REQUIRE", c.required)
		r := &recorder{}
		if c.canSkip {
			missing(skipper{r})
		} else {
			missing(r)
		}
		if (r.skipped != "") != c.wantsSkip || (r.failed != "") == c.wantsSkip {
			t.Errorf("%+v: skipped %q, failed %q", c, r.skipped, r.failed)
		}
		for _, part := range []string{"no-such-program", "no-such-package"} {
			if !strings.Contains(r.skipped+r.failed, part) {
				t.Errorf("%q and %q miss %s", r.skipped, r.failed, part)
			}
		}
	}
}

func TestWhatIsThereIsFound(t *testing.T) {
	if path := Program(t, "go", "golang"); path == "" {
		t.Error("no path")
	}
}
