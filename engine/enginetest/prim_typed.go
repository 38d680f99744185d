package enginetest

import (
	"errors"
	"strconv"
	"sync"

	"github.com/lockstep-go/lockstep"
)

var typedChecks = []check{
	{rule: "updates of many on a bad network are each made once", needs: needStore, run: typedUpdates},
	{rule: "a value is read, updated and watched as its type", needs: needStore, run: typedValue},
}

func typedUpdates(t TB, s *suite) {
	const clients, additions = 3, 8
	a := s.client(t)
	name := a.name()
	var all sync.WaitGroup
	for i := range clients {
		lc, f := s.coreClient(t, coreTTL)
		f.Random(uint64(i), 0.33, commitFaults...)
		m := lockstep.MapOf[map[string]int](lc, name)
		all.Go(func() {
			mine := strconv.Itoa(i)
			for range additions {
				_, err := m.Update(a.ctx, "all", func(old map[string]int) (map[string]int, error) {
					if old == nil {
						old = map[string]int{}
					}
					old[mine]++
					return old, nil
				})
				if err != nil {
					t.Errorf("Update: %v", a.cause(err))
					return
				}
			}
			f.Arrived()
		})
	}
	all.Wait()
	lc, _ := s.coreClient(t, coreTTL)
	e, err := lockstep.MapOf[map[string]int](lc, name).Get(a.ctx, "all")
	if err != nil {
		t.Fatalf("Get: %v", a.cause(err))
	}
	for i := range clients {
		if n := e.Value[strconv.Itoa(i)]; n != additions {
			t.Errorf("%d of the %d updates of client %d are there", n, additions, i)
		}
	}
}

func typedValue(t TB, s *suite) {
	a := s.client(t)
	writer, _ := s.coreClient(t, coreTTL)
	reader, _ := s.coreClient(t, coreTTL)
	name := a.name()
	v := lockstep.ValueOf[string](writer, name, lockstep.Text)
	if _, err := v.Put(a.ctx, "first"); err != nil {
		t.Fatalf("Put: %v", a.cause(err))
	}
	shown := []string{}
	for change, err := range lockstep.ValueOf[string](reader, name, lockstep.Text).Watch(a.ctx) {
		if err != nil || change.Err != nil {
			t.Fatalf("Watch: %v, %v", a.cause(err), change.Err)
		}
		shown = append(shown, change.Decoded)
		if change.Decoded == "second" {
			break
		}
		if len(shown) > 1 {
			continue
		}
		if _, err := v.Update(a.ctx, func(string) (string, error) { return "second", nil }); err != nil {
			t.Fatalf("Update: %v", a.cause(err))
		}
	}
	if shown[0] != "first" {
		t.Errorf("shown %q, want the present value first", shown)
	}
	if _, err := lockstep.ValueOf[int](reader, name).Update(a.ctx, func(int) (int, error) { return 1, nil }); !errors.Is(err, lockstep.ErrMismatch) {
		t.Errorf("Update of what is no number: %v", err)
	}
}
