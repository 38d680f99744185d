package zkengine

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/internal/childproc"
)

// childHolds names the variable that makes this test's program the process that
// holds a lock.
const childHolds = "ZKENGINE_CHILD_HOLDS"

// holdInChild locks, says so, says when it is told of the loss, and locks again.
func holdInChild(url string) error {
	ctx := context.Background()
	c, err := lockstep.Open(ctx, url, Driver, lockstep.WithTTL(4*time.Second))
	if err != nil {
		return err
	}
	defer c.Close()
	for _, when := range []string{"first", "again"} {
		lease, err := c.Mutex("n").Lock(ctx)
		if err != nil {
			return err
		}
		fmt.Println(when, lease.Token())
		if when == "again" {
			return lease.Release(ctx)
		}
		if lease.Err() != nil { // the first look after it runs again
			return lease.Err()
		}
		<-lease.Context().Done()
		fmt.Println("told", context.Cause(lease.Context()))
	}
	return nil
}

// A client that was stopped past its session is told, and what it holds next is a new
// claim of a new session, with a greater token than whoever held meanwhile.
func TestAHolderStoppedPastItsSessionHasLostAndAdoptsNothing(t *testing.T) {
	t.Parallel()
	url := "zk://" + server(t).Addr + "/stopped"
	ctx, cancel := context.WithTimeout(t.Context(), guard)
	defer cancel()
	c, err := lockstep.Open(ctx, url, Driver)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), childHolds+"="+url)
	p, err := childproc.Launch(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
	first := said(ctx, t, cmd.Dir, "first")
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	lease, err := c.Mutex("n").Lock(ctx) // when the session has ended
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	said(ctx, t, cmd.Dir, "told")
	if lease.Err() != nil {
		t.Errorf("what was granted meanwhile: %v", lease.Err())
	}
	between := lease.Token()
	if err := lease.Release(ctx); err != nil {
		t.Fatal(err)
	}
	again := said(ctx, t, cmd.Dir, "again")
	if first >= between || between >= again {
		t.Errorf("tokens %d, %d, %d: they do not rise", first, between, again)
	}
	<-p.Done
	if text := log(t, cmd.Dir); !strings.Contains(text, "result: <nil>") {
		t.Errorf("the process said: %s", text)
	}
}

// said waits for a word of the process, and returns the token beside it.
func said(ctx context.Context, t *testing.T, dir, word string) (token lockstep.Token) {
	t.Helper()
	for ctx.Err() == nil {
		for s := bufio.NewScanner(strings.NewReader(log(t, dir))); s.Scan(); {
			if rest, ok := strings.CutPrefix(s.Text(), word+" "); ok {
				fmt.Sscan(rest, &token) // a loss has none
				return token
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("it never said %q but: %s", word, log(t, dir))
	return 0
}

func log(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(dir + "/log")
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(b)
}
