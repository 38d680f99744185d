package zkengine

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/faultnet"
)

// fromConn is an engine over a client of the caller's.
func fromConn(t *testing.T, addr string, timeout time.Duration) *Engine {
	t.Helper()
	tap := NewTap(nil)
	client, _, err := zk.Connect([]string{addr}, timeout, zk.WithDialer(tap.Dial), zk.WithEventCallback(tap.Event), zk.WithLogInfo(false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	e, err := FromConn(guarded(t), client, tap)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// TestARequestThatCouldNotBeSentHasAnUnknownOutcome: some of its bytes may have been,
// and what ends a session has to try again.
func TestARequestThatCouldNotBeSentHasAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	far.Close()
	_, err := (&tapConn{Conn: near, tap: NewTap(nil)}).Write([]byte("request"))
	if err = explain(err); !errors.Is(err, errLink) || engine.Definite(err) {
		t.Errorf("%v, want errLink", err)
	}
}

// TestWhatASharedClientsSessionLeftIsRemovedWhenTheServerIsBack: the server was away
// when sessions ended, and is back before the client's own session has run out. That
// goes on, so nobody but the engine would ever end what they left.
func TestWhatASharedClientsSessionLeftIsRemovedWhenTheServerIsBack(t *testing.T) {
	t.Parallel()
	s := server(t)
	p := faultnet.New(t, s.Addr, faultnet.Raw)
	e := fromConn(t, p.Addr, 12*time.Second)
	other := newUser(t, "zk://"+s.Addr)
	closed, idle := begin(t, e, time.Minute), begin(t, e, time.Minute)
	left := map[*Session]*engine.Claim{closed: newClaim(newName("closed"), "mutex"), idle: newClaim(newName("idle"), "mutex")}
	for session, c := range left {
		if _, err := session.Acquire(guarded(t), c, false); err != nil {
			t.Fatal(err)
		}
	}
	p.Blackhole()
	begun := []*faultnet.Rule{p.Count(faultnet.Contains(closed.marker)), p.Count(faultnet.Contains(idle.marker))}
	ctx, cancel := context.WithTimeout(guarded(t), 50*time.Millisecond)
	defer cancel()
	if err := closed.End(ctx, []*engine.Claim{left[closed]}); err == nil || engine.Definite(err) {
		t.Errorf("End of what nobody answers for: %v, want an unknown outcome", err)
	}
	idle.lapse()
	for _, r := range begun {
		wait(t, "the engine to try over a connection that is about to break", r.Hit())
	}
	p.Heal()
	other.inLine(left[closed].Name, 0, 0)
	other.inLine(left[idle].Name, 0, 0)
}
