package torture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/internal/faultnet"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// term is a leader's time, by its trust window.
type term struct {
	value      string
	token      lockstep.Token
	start, end time.Time
}

// Five candidates whose networks die in turn while they lead, and ten observers,
// some of whose connections are cut all the time. enginetest has the same in short
// for every engine, and the core's tests exactly, in time that is made.
func TestSoakLeadersKilledInTurnNeverOverlapAndAllObserversAgree(t *testing.T) {
	const candidates, observers = 5, 10
	kills := tries(3, 100)
	s := redistest.Start(t)
	ctx, end := context.WithCancel(guarded(t, hang+time.Duration(kills)*15*time.Second))
	var all sync.WaitGroup
	defer all.Wait()
	defer end()

	var mu sync.Mutex
	var terms []term
	networks := map[string]*faultnet.Proxy{}
	leading := make(chan string)
	for i := range candidates {
		value := fmt.Sprint(i)
		p := faultnet.New(t, s.Addr, faultnet.RESP)
		networks[value] = p
		c := open(t, p.Addr, lockstep.MinTTL)
		all.Go(func() {
			err := c.Election("e").Run(ctx, value, func(ctx context.Context) error {
				lead, start := lockstep.LeadershipFrom(ctx), time.Now()
				select {
				case leading <- value:
					<-ctx.Done()
				case <-ctx.Done():
				}
				over := time.Now()
				if until := lead.Until(); until.Before(over) { // this goroutine may have stood still
					over = until
				}
				mu.Lock()
				defer mu.Unlock()
				terms = append(terms, term{value, lead.Token(), start, over})
				return ctx.Err()
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Run: %v", err)
			}
		})
	}
	seen := make([]*audience, observers)
	for i := range seen {
		p := faultnet.New(t, s.Addr, faultnet.RESP)
		c := open(t, p.Addr, lockstep.DefaultTTL)
		seen[i] = &audience{}
		all.Go(func() { seen[i].observe(ctx, t, c.Election("e")) })
		if i%2 == 0 {
			all.Go(func() { every(ctx, 500*time.Millisecond, p.Cut) })
		}
	}

	var last string
	for i := range kills + 1 {
		var next string
		select {
		case next = <-leading:
		case <-ctx.Done():
			t.Fatalf("nobody leads after %d kills: %v", i, context.Cause(ctx))
		}
		if last != "" {
			networks[last].Heal()
		}
		if last = next; i < kills {
			networks[last].Blackhole()
		}
	}
	newest, err := open(t, s.Addr, lockstep.DefaultTTL).Election("e").Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range seen {
		if err := o.wait(ctx, newest.Token); err != nil {
			t.Errorf("observer %d: %v", i, err)
		}
	}
	end()
	all.Wait()

	slices.SortFunc(terms, func(a, b term) int { return cmp.Compare(a.token, b.token) })
	for i := 1; i < len(terms); i++ {
		a, b := terms[i-1], terms[i]
		if a.token == b.token || b.start.Before(a.end) {
			t.Errorf("%s led with token %d until %v, %s with %d from %v (S1, S2)", a.value, a.token, a.end, b.value, b.token, b.start)
		}
	}
	t.Logf("%d kills, %d terms; %d observers, each shown rising terms up to the last", kills, len(terms), observers)
}

// audience is one observer.
type audience struct {
	mu     sync.Mutex
	newest lockstep.Token
}

func (a *audience) observe(ctx context.Context, t *testing.T, e *lockstep.Election) {
	for l, err := range e.Observe(ctx) {
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Observe: %v", err)
			}
			return
		}
		a.mu.Lock()
		if l.Token != 0 && l.Token < a.newest {
			t.Errorf("token %d was shown after %d", l.Token, a.newest)
		}
		a.newest = max(a.newest, l.Token)
		a.mu.Unlock()
	}
}

func (a *audience) wait(ctx context.Context, token lockstep.Token) error {
	for {
		a.mu.Lock()
		newest := a.newest
		a.mu.Unlock()
		switch {
		case newest >= token:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("it was shown terms up to %d, and %d leads", newest, token)
		}
		time.Sleep(time.Millisecond) // between two looks
	}
}
