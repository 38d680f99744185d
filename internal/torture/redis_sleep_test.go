package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/internal/faultnet"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// ordeal is what is done to a server and a network, again and again, while
// clients hand locks over.
type ordeal struct {
	name string
	// once does it once.
	once func(s *redistest.Server, p *faultnet.Proxy)
	// loses says that a held lock may be lost by it, and so be held by two.
	loses bool
}

var ordeals = []ordeal{
	{name: "nothing", once: func(*redistest.Server, *faultnet.Proxy) {}},
	{name: "the server stalls", once: func(s *redistest.Server, _ *faultnet.Proxy) {
		s.Pause()
		linger(120)
		s.Continue()
	}},
	{name: "connections are killed", once: func(s *redistest.Server, _ *faultnet.Proxy) {
		_, _ = s.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	}},
	{name: "subscriptions are killed", once: func(s *redistest.Server, _ *faultnet.Proxy) {
		_, _ = s.Do("CLIENT", "KILL", "TYPE", "pubsub")
	}},
	{name: "the network is cut", once: func(_ *redistest.Server, p *faultnet.Proxy) { p.Cut() }},
	{name: "messages are lost", once: func(_ *redistest.Server, p *faultnet.Proxy) {
		rule := p.DropMessages(faultnet.Nth(1, faultnet.Any))
		linger(20)
		rule.Remove()
	}},
	{name: "replies are lost", once: func(_ *redistest.Server, p *faultnet.Proxy) {
		rule := p.ResetAtReply(faultnet.Nth(1+rand.N(5), faultnet.Contains("EVALSHA")))
		linger(20)
		rule.Remove()
	}},
	{name: "scripts are forgotten", once: func(s *redistest.Server, _ *faultnet.Proxy) { _, _ = s.Do("SCRIPT", "FLUSH") }},
	{name: "the server restarts without its data", loses: true, once: func(s *redistest.Server, _ *faultnet.Proxy) {
		s.Kill()
		s.Restart()
	}},
	{name: "the data is lost", loses: true, once: func(s *redistest.Server, _ *faultnet.Proxy) { _, _ = s.Do("FLUSHALL") }},
}

// A waiter gets its lock, or is told that its place is lost, whatever happened
// to the message that should have woken it.
//
// A peer of ours sleeps for ever on a free lock after one stall of 60 ms.
func TestSoakNoWaiterSleepsOnAFreeLock(t *testing.T) {
	const lanes = 8
	each := tries(320, 10_000) / len(ordeals) / lanes
	for _, o := range ordeals {
		t.Run(o.name, func(t *testing.T) {
			s := redistest.Start(t)
			p := faultnet.New(t, s.Addr, faultnet.RESP)
			r := relay{t: t, s: s, ordeal: o, clients: []*lockstep.Client{open(t, p.Addr, 2*time.Second), open(t, p.Addr, 2*time.Second)}}
			ctx, stop := context.WithCancel(t.Context())
			var fate, running sync.WaitGroup
			strokes := 0
			fate.Go(func() {
				for ; ctx.Err() == nil; strokes++ {
					linger(30)
					o.once(s, p)
				}
			})
			for i := range lanes {
				running.Go(func() { r.run(fmt.Sprintf("n%d", i), each) })
			}
			running.Wait()
			stop()
			fate.Wait()
			_, median, longest := spread(r.waits)
			t.Logf("%d tries, %d strokes of fate: a lock passed on within %v (median), %v (longest); %d waiters were told that their place is lost",
				len(r.waits), strokes, median.Round(time.Microsecond), longest.Round(time.Microsecond), r.told.Load())
		})
	}
}

// relay is two clients that pass locks to and fro.
type relay struct {
	t       *testing.T
	s       *redistest.Server
	ordeal  ordeal
	clients []*lockstep.Client
	told    atomic.Int64

	mu    sync.Mutex
	waits []time.Duration // from the beginning of a Release to the other's Lock returning
}

// run passes one lock so many times.
func (r *relay) run(name string, times int) {
	var beliefs checker
	held, end := r.take(name, 0, &beliefs)
	for i := range times {
		if held == nil {
			return
		}
		next := make(chan struct{})
		var lease *lockstep.Lease
		var ended func()
		go func() {
			defer close(next)
			lease, ended = r.take(name, (i+1)%2, &beliefs)
		}()
		r.letWait(name, next)
		linger(30) // so that fate strikes before, during and after the release
		began := time.Now()
		end()
		// An error tells of the fault; what the server did not hear of is given
		// back in the background, and must not keep the other from it.
		_ = held.Release(guarded(r.t, hang))
		<-next
		r.note(time.Since(began))
		held, end = lease, ended
	}
	if held != nil {
		end()
		_ = held.Release(guarded(r.t, hang))
	}
	beliefs.check(r.t, !r.ordeal.loses)
}

// take locks, again where it is told that its place was lost; nil: it slept.
func (r *relay) take(name string, who int, beliefs *checker) (*lockstep.Lease, func()) {
	ctx, cancel := context.WithTimeout(r.t.Context(), hang)
	defer cancel()
	for {
		l, err := r.clients[who].Mutex(name).Lock(ctx)
		switch {
		case err == nil:
			end := beliefs.hold(fmt.Sprintf("client %d", who), l.Token())
			context.AfterFunc(l.Context(), end)
			return l, end
		case told(err) && ctx.Err() == nil:
			r.told.Add(1)
		case errors.Is(err, context.DeadlineExceeded):
			r.t.Errorf("%s: client %d slept for %v. The server has %s", name, who, hang, dump(r.s, name))
			return nil, nil
		default:
			r.t.Errorf("%s: client %d: %v", name, who, err)
			return nil, nil
		}
	}
}

// letWait gives the other a while to be in line, often enough for it to be:
// releases that meet a claim on its way are part of this.
func (r *relay) letWait(name string, next <-chan struct{}) {
	if rand.N(3) == 0 {
		return
	}
	deadline := time.Now().Add(time.Duration(rand.N(20)) * time.Millisecond)
	for time.Now().Before(deadline) {
		if n, err := r.s.Do("ZCARD", "{"+name+"}:lockstep:wait"); err == nil && n == int64(1) {
			return
		}
		select {
		case <-next:
			return
		default:
			linger(2)
		}
	}
}

func (r *relay) note(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waits = append(r.waits, d)
}
