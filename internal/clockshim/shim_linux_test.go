package clockshim

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/internal/need"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

func start(t *testing.T) (*Shim, *redistest.Server) {
	t.Helper()
	shim := Build(t)
	return shim, redistest.StartWith(t, redistest.Options{Env: shim.Env()})
}

// serverTime is TIME, inside of a script or not.
func serverTime(t *testing.T, s *redistest.Server, ask ...string) time.Time {
	t.Helper()
	parts := s.MustDo(t, ask...).([]any)
	sec, err := strconv.ParseInt(parts[0].(string), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	usec, err := strconv.ParseInt(parts[1].(string), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Unix(sec, usec*1000)
}

func TestTimeFollowsEachStep(t *testing.T) {
	shim, s := start(t)
	for _, ask := range [][]string{{"TIME"}, {"EVAL", "return redis.call('TIME')", "0"}} {
		for _, step := range []time.Duration{time.Minute, -time.Minute, -time.Minute, time.Minute, time.Millisecond} {
			began := time.Now()
			before := serverTime(t, s, ask...)
			shim.Step(step)
			moved := serverTime(t, s, ask...).Sub(before)
			// A microsecond for what TIME rounds, a second for whoever corrects
			// the machine's own clock.
			if moved < step-time.Microsecond || moved > step+time.Since(began)+time.Second {
				t.Errorf("%q: a step of %v moved the time by %v", ask, step, moved)
			}
		}
	}
	if shim.Offset() != 2*time.Millisecond {
		t.Errorf("after all steps the offset is %v", shim.Offset())
	}
}

func TestExpiryFollowsAStepForward(t *testing.T) {
	shim, s := start(t)
	s.MustDo(t, "SET", "k", "v", "PX", "30000")
	shim.Step(time.Minute)
	if got := s.MustDo(t, "GET", "k"); got != nil {
		t.Errorf("after a step beyond its expiry the key is %v", got)
	}
}

func TestExpiryFollowsAStepBack(t *testing.T) {
	shim, s := start(t)
	s.MustDo(t, "SET", "k", "v", "PX", "30000")
	shim.Step(-time.Minute)
	if left := s.MustDo(t, "PTTL", "k").(int64); left <= 60_000 || left > 90_000 {
		t.Errorf("after a step back by a minute the key lives for %d ms", left)
	}
}

// Redis gives up a blocked client by its wall clock: whoever blocks at a server
// needs a bound of its own, because a step back prolongs the server's.
func TestBlockedClientsFollow(t *testing.T) {
	shim, s := start(t)
	c, err := s.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Send("XREAD", "BLOCK", "3600000", "STREAMS", "none", "$"); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(s.MustDo(t, "INFO", "clients").(string), "blocked_clients:1") {
		runtime.Gosched()
	}
	shim.Step(2 * time.Hour)
	if got, err := c.Receive(); got != nil || err != nil {
		t.Errorf("after a step beyond its end a blocked read brought %v, %v", got, err)
	}
}

func TestTheMonotonicClockStays(t *testing.T) {
	python := need.Program(t, "python3", "python3")
	shim := Build(t)
	monotonic := func(env []string) int64 {
		t.Helper()
		cmd := exec.Command(python, "-c", "import time; print(time.monotonic_ns())")
		cmd.Env = append(os.Environ(), env...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		ns, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return ns
	}
	for _, step := range []time.Duration{time.Hour, -2 * time.Hour} {
		shim.Step(step)
		before := monotonic(nil)
		shimmed := monotonic(shim.Env())
		if after := monotonic(nil); shimmed < before || shimmed > after {
			t.Errorf("with the clock at %v the monotonic clock is %d, and %d before and %d after", shim.Offset(), shimmed, before, after)
		}
	}
}

func TestAStoppedShimIsNoFault(t *testing.T) {
	var shim *Shim
	t.Run("a test", func(t *testing.T) { shim = Build(t) })
	shim.Step(time.Minute) // by a goroutine that outlived its test
}
