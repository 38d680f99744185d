package torture

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislock"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/internal/faultnet"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// The experiment: a holder of TTL 3 s has renewed for 2 s when its network
// becomes a black hole. Somebody else wants the lock. Who knows first, the
// holder that its lock is lost, or the other that it has it?
const (
	windowTTL = 3 * time.Second
	heldFor   = 2 * time.Second
)

// S1: the window closes before the server can grant the name to anybody else.
// That it does is a matter of two points in time, which both stand in the
// results: no scheduler can make them trade places. When the holder's context
// ended is a matter of this machine as well, and is reported.
func TestSoakTheWindowClosesBeforeTheNextGrant(t *testing.T) {
	const lanes = 20
	s := redistest.Start(t)
	other := open(t, s.Addr, windowTTL)
	var mu sync.Mutex
	var planned, told []time.Duration
	for round := range tries(1, 50) {
		var running sync.WaitGroup
		for lane := range lanes {
			running.Go(func() {
				// Every phase of the renewals is met.
				phase := time.Duration(round*lanes+lane) * 7 % 1000 * time.Millisecond
				w, err := loseIt(t, s, other, fmt.Sprintf("n%d/%d", round, lane), phase, lane%2 == 0)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				planned = append(planned, w.granted.Sub(w.closes))
				told = append(told, w.granted.Sub(w.told))
			})
		}
		running.Wait()
	}
	least, median, _ := spread(planned)
	t.Logf("%d runs: the window ended %v or more before the next grant at the server (median %v)", len(planned), least, median)
	if least <= 0 {
		t.Errorf("a window ended %v after the next grant", -least)
	}
	least, median, _ = spread(told)
	t.Logf("the holder's context was done %.3f ms or more before that grant (median %.3f ms)", inMs(least), inMs(median))
}

func inMs(d time.Duration) float64 { return d.Seconds() * 1000 }

// lost is what happened to one holder.
type lost struct {
	closes  time.Time // its window, as last proven
	told    time.Time // its context was done
	granted time.Time // the other's grant, by the server's clock, which is this machine's
}

// loseIt is the experiment with Lockstep. The other waits in line, or tries all
// the time, which finds the moment of expiry more exactly.
func loseIt(t *testing.T, s *redistest.Server, other *lockstep.Client, name string, phase time.Duration, waits bool) (lost, error) {
	p := faultnet.New(t, s.Addr, faultnet.RESP)
	ctx := guarded(t, hang)
	holder := open(t, p.Addr, windowTTL)
	l, err := holder.Mutex(name).Lock(ctx)
	if err != nil {
		return lost{}, err
	}
	told := make(chan time.Time, 1)
	context.AfterFunc(l.Context(), func() { told <- time.Now() })
	var next <-chan outcome
	if waits {
		next = lockLater(ctx, other.Mutex(name))
	} else {
		next = tryLater(ctx, other.Mutex(name))
	}
	<-time.After(heldFor + phase) // the experiment's time, and no synchronisation
	p.Blackhole()

	o := <-next
	alive := l.Context().Err() == nil
	if o.err != nil {
		return lost{}, fmt.Errorf("%s: the other: %w", name, o.err)
	}
	if alive {
		t.Errorf("%s: the holder's context lives when the other has the lock", name)
	}
	w := lost{closes: l.Until(), granted: time.UnixMicro(int64(o.lease.Token()))}
	select {
	case w.told = <-told:
	case <-ctx.Done():
		return lost{}, fmt.Errorf("%s: the holder is never told", name)
	}
	if cause := context.Cause(l.Context()); !errors.Is(cause, lockstep.ErrLost) {
		t.Errorf("%s: the holder's context ended by %v, want ErrLost", name, cause)
	}
	if o.lease.Token() <= l.Token() {
		t.Errorf("%s: token %d after %d", name, o.lease.Token(), l.Token())
	}
	p.Heal()
	return w, o.lease.Release(ctx)
}

// tryLater tries again and again.
func tryLater(ctx context.Context, m *lockstep.Mutex) <-chan outcome {
	got := make(chan outcome, 1)
	go func() {
		for {
			l, err := m.TryLock(ctx)
			if !errors.Is(err, lockstep.ErrHeld) {
				got <- outcome{l, err}
				return
			}
			time.Sleep(2 * time.Millisecond)
		}
	}()
	return got
}

// The same experiment with a peer: the second holder comes first. If it does
// not, the experiment shows nothing.
func TestTheExperimentBites(t *testing.T) {
	const lanes = 5
	s := redistest.Start(t)
	early := make(chan time.Duration, lanes)
	var running sync.WaitGroup
	for range lanes {
		running.Go(func() {
			d, err := losePeers(t, s)
			if err != nil {
				t.Error(err)
				return
			}
			early <- d
		})
	}
	running.Wait()
	close(early)
	var all []time.Duration
	for d := range early {
		all = append(all, d)
	}
	least, median, greatest := spread(all)
	t.Logf("rueidislock, %d runs: the second holder came %v before the first was told (median; %v to %v)", len(all), median, least, greatest)
	if greatest <= 0 {
		t.Error("the peer's holder was always told first: the experiment shows nothing")
	}
}

// losePeers is the experiment with rueidislock: how long two believed in one
// lock.
func losePeers(t *testing.T, s *redistest.Server) (time.Duration, error) {
	p := faultnet.New(t, s.Addr, faultnet.RESP)
	ctx := guarded(t, hang)
	locker := func(addr string) (rueidislock.Locker, error) {
		return rueidislock.NewLocker(rueidislock.LockerOption{
			ClientOption: rueidis.ClientOption{InitAddress: []string{addr}, ForceSingleClient: true},
			KeyValidity:  windowTTL, KeyMajority: 1, NoLoopTracking: true,
			TryNextAfter: windowTTL / 3, // its 20 ms are too short for a busy machine
		})
	}
	holder, err := locker(p.Addr)
	if err != nil {
		return 0, err
	}
	defer holder.Close()
	defer p.Heal()
	other, err := locker(s.Addr)
	if err != nil {
		return 0, err
	}
	defer other.Close()
	held, release, err := holder.WithContext(ctx, p.Addr)
	if err != nil {
		return 0, err
	}
	defer release()
	told := make(chan time.Time, 1)
	context.AfterFunc(held, func() { told <- time.Now() })
	go func() { <-time.After(heldFor); p.Blackhole() }()
	for {
		_, release, err := other.TryWithContext(ctx, p.Addr)
		if errors.Is(err, rueidislock.ErrNotLocked) {
			time.Sleep(2 * time.Millisecond)
			continue
		}
		granted := time.Now()
		if err != nil {
			return 0, err
		}
		defer release()
		select {
		case at := <-told:
			return at.Sub(granted), nil
		case <-ctx.Done():
			return 0, errors.New("rueidislock's holder is never told")
		}
	}
}
