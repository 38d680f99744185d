package zkengine

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// TestANoteThatWasGivenUpDoesNotUndoTheNext: its request goes on after its caller left.
func TestANoteThatWasGivenUpDoesNotUndoTheNext(t *testing.T) {
	t.Parallel()
	u := newUser(t, "zk://"+server(t).Addr)
	u.s.arming = true // no request but ours is waited for
	c := newClaim(newName("note"), "mutex")
	wait(t, "the grant", u.begin(c))
	for i := range 300 {
		ctx, leave := context.WithCancel(guarded(t))
		leaving := time.AfterFunc(time.Duration(i)*2*time.Microsecond, leave)
		_ = u.s.SetNote(ctx, c, []byte("given up"))
		leaving.Stop()
		leave()
		want := fmt.Sprint("note ", i)
		if err := u.s.SetNote(guarded(t), c, []byte(want)); err != nil {
			t.Fatal(err)
		}
		u.s.c.calls.Wait() // nothing is on its way any more
		if n, err := u.s.c.get(u.s.place(c.ID).path); err != nil || string(n.data) != want {
			t.Fatalf("round %d: the note is %q, %v; want %q", i, n.data, err, want)
		}
	}
	u.release(c)
}
