package lockstep_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

type limits struct {
	Rate  int    `json:"rate"`
	Owner string `json:"owner,omitempty"`
}

func TestATypedMapStoresJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newService(t).client()
		m := lockstep.MapOf[limits](c, "m")
		r, err := m.Put(t.Context(), "a", limits{Rate: 3})
		wantNo(t, err)
		raw, err := c.Map("m").Get(t.Context(), "a")
		wantNo(t, err)
		if string(raw.Value) != `{"rate":3}` {
			t.Errorf("stored is %s", raw.Value)
		}
		e, err := m.Get(t.Context(), "a")
		wantNo(t, err)
		if e != (lockstep.TypedEntry[limits]{Key: "a", Value: limits{Rate: 3}, Revision: r}) {
			t.Errorf("got %+v", e)
		}
		_, err = m.CompareAndSwap(t.Context(), "a", r-1, limits{})
		wantErr(t, err, lockstep.ErrConflict)
		_, err = m.CompareAndSwap(t.Context(), "a", r, limits{Owner: "x"})
		wantNo(t, err)
		_, err = m.Put(t.Context(), "b", limits{Rate: 1})
		wantNo(t, err)
		all, _, err := m.List(t.Context())
		wantNo(t, err)
		if len(all) != 2 || all[0].Value.Owner != "x" || all[1].Value.Rate != 1 {
			t.Errorf("listed %+v", all)
		}
		_, err = m.Delete(t.Context(), "a")
		wantNo(t, err)
		_, err = m.Get(t.Context(), "a")
		wantErr(t, err, lockstep.ErrNotFound)
	})
}

// roundTrip puts v and gives what is stored and what is read.
func roundTrip[T any](t *testing.T, c *lockstep.Client, v T) (stored string, read T) {
	t.Helper()
	value := lockstep.ValueOf[T](c, "v", lockstep.Text)
	_, err := value.Put(t.Context(), v)
	wantNo(t, err)
	raw, err := value.Value().Get(t.Context())
	wantNo(t, err)
	read, _, err = value.Get(t.Context())
	wantNo(t, err)
	return string(raw.Value), read
}

func TestATypesOwnTextIsStoredWhereItIsChosen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newService(t).client()
		addr := netip.MustParseAddr("10.0.0.1")
		if stored, read := roundTrip(t, c, addr); stored != "10.0.0.1" || read != addr {
			t.Errorf("stored %q, read %v", stored, read)
		}
		if stored, read := roundTrip(t, c, &addr); stored != "10.0.0.1" || *read != addr { // a pointer has it too
			t.Errorf("stored %q, read %v", stored, read)
		}
		at := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
		if stored, read := roundTrip(t, c, at); stored != "2026-11-23T00:00:00Z" || !read.Equal(at) {
			t.Errorf("stored %q, read %v", stored, read)
		}
		if stored, read := roundTrip(t, c, "plain"); stored != "plain" || read != "plain" {
			t.Errorf("stored %q, read %q", stored, read)
		}
		_, err := lockstep.ValueOf[limits](c, "v", lockstep.Text).Put(t.Context(), limits{})
		wantErr(t, err, lockstep.ErrInvalid)
		_, _, err = lockstep.ValueOf[limits](c, "v", lockstep.Text).Get(t.Context())
		wantErr(t, err, lockstep.ErrInvalid)
	})
}

func TestWhatDoesNotDecodeIsAMismatchThatNamesTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newService(t).client()
		put(t, c.Map("m"), "bad", "no JSON")
		m := lockstep.MapOf[limits](c, "m")
		_, err := m.Get(t.Context(), "bad")
		wantErr(t, err, lockstep.ErrMismatch)
		if _, ok := errors.AsType[*json.SyntaxError](err); !ok || !strings.Contains(err.Error(), `"bad"`) {
			t.Errorf("error: %v", err)
		}
		_, _, err = m.List(t.Context())
		wantErr(t, err, lockstep.ErrMismatch)
		_, err = m.Update(t.Context(), "bad", func(l limits) (limits, error) { return l, nil })
		wantErr(t, err, lockstep.ErrMismatch)
		_, err = lockstep.MapOf[func()](c, "m").Put(t.Context(), "f", nil)
		wantErr(t, err, lockstep.ErrInvalid)
	})
}

func TestATypedWatchGoesOnAfterWhatDoesNotDecode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newService(t).client()
		v := lockstep.ValueOf[limits](c, "v")
		var shown []string
		ctx, cancel := context.WithCancel(t.Context())
		var watching sync.WaitGroup
		watching.Go(func() {
			for change, err := range v.Watch(ctx) {
				switch {
				case err != nil:
					return
				case change.Err != nil:
					shown = append(shown, "? "+string(change.Value))
				default:
					shown = append(shown, change.Op.String()+" "+change.Decoded.Owner)
				}
			}
		})
		synctest.Wait()
		_, err := v.Put(t.Context(), limits{Owner: "a"})
		wantNo(t, err)
		_, err = v.Value().Put(t.Context(), []byte("else"))
		wantNo(t, err)
		_, err = v.Delete(t.Context())
		wantNo(t, err)
		synctest.Wait()
		cancel()
		watching.Wait()
		if want := []string{"none ", "put a", "? else", "delete "}; !slices.Equal(shown, want) {
			t.Errorf("shown %q; want %q", shown, want)
		}
	})
}

func addOne(l limits) (limits, error) {
	l.Rate++
	return l, nil
}

func TestUpdatesOfManyAreAllMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const programs, additions = 8, 50
		s := newService(t)
		var all sync.WaitGroup
		for range programs {
			m := lockstep.MapOf[limits](s.client(), "m")
			all.Go(func() {
				for range additions {
					if _, err := m.Update(t.Context(), "a", addOne); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		e, err := lockstep.MapOf[limits](s.client(), "m").Get(t.Context(), "a")
		wantNo(t, err)
		if e.Value.Rate != programs*additions {
			t.Errorf("%d of %d additions are there", e.Value.Rate, programs*additions)
		}
	})
}

// Whoever is always late tries again with what there is, after a pause that grows.
func TestAnUpdateIsTriedAgainAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		other := s.client().Map("m")
		tries := 0
		began := time.Now()
		got, err := lockstep.MapOf[int](s.client(), "m").Update(t.Context(), "a", func(old int) (int, error) {
			if tries++; tries < 10 {
				put(t, other, "a", string(rune('0'+tries)))
			}
			return old + 100, nil
		})
		wantNo(t, err)
		if tries != 10 || got != 109 {
			t.Errorf("after %d tries it is %d", tries, got)
		}
		if waited := time.Since(began); waited <= 0 || waited > time.Second {
			t.Errorf("it waited %v in all", waited)
		}
	})
}

func TestAnUpdateEndsWithItsContextAndItsFunctionsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		other := s.client().Map("m")
		m := lockstep.MapOf[int](s.client(), "m")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		n := 0
		_, err := m.Update(ctx, "a", func(old int) (int, error) {
			n++
			put(t, other, "a", "1"+strings.Repeat("0", n%9))
			return old + 1, nil
		})
		wantErr(t, err, context.DeadlineExceeded)
		calls := 0
		_, err = m.Update(t.Context(), "a", func(int) (int, error) { calls++; return 0, lockstep.ErrConflict })
		wantErr(t, err, lockstep.ErrConflict)
		if calls != 1 {
			t.Errorf("a function that fails was called %d times", calls)
		}
	})
}

func TestAnUpdateThatChangesNothingWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := lockstep.MapOf[int](newService(t).client(), "m")
		keep := func(old int) (int, error) { return old, nil }
		_, err := m.Update(t.Context(), "a", keep) // what is not there is written
		wantNo(t, err)
		before, err := m.Get(t.Context(), "a")
		wantNo(t, err)
		_, err = m.Update(t.Context(), "a", keep)
		wantNo(t, err)
		if after, err := m.Get(t.Context(), "a"); err != nil || after != before {
			t.Errorf("it is %+v, %v; was %+v", after, err, before)
		}
	})
}

// S4: the first reply is lost; asked again, the engine says that it was done.
func TestAnUpdateWhoseReplyWasLostIsMadeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sh := newService(t).shelved()
		lost := 0
		sh.commit = func(ctx context.Context, tx engine.Tx, next commitFunc) (engine.Revision, error) {
			r, err := next(ctx, tx)
			if lost++; lost%2 == 1 {
				return 0, errNoReply
			}
			return r, err
		}
		m := lockstep.MapOf[int](c, "m")
		for range 3 {
			_, err := m.Update(t.Context(), "a", func(old int) (int, error) { return old + 1, nil })
			wantNo(t, err)
		}
		if e, err := m.Get(t.Context(), "a"); err != nil || e.Value != 3 {
			t.Errorf("it is %+v, %v; want 3", e, err)
		}
	})
}

func TestATypedMapThatNobodyMadeSaysSo(t *testing.T) {
	var m lockstep.TypedMap[int]
	_, err := m.Get(t.Context(), "a")
	wantErr(t, err, lockstep.ErrInvalid)
	var v lockstep.TypedValue[int]
	_, _, err = v.Get(t.Context())
	wantErr(t, err, lockstep.ErrInvalid)
	_, _, err = lockstep.ValueOf[int](nil, "v", lockstep.JSON, lockstep.Text).Get(t.Context())
	wantErr(t, err, lockstep.ErrInvalid)
}
