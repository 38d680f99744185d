package lockstep_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

func campaign(t *testing.T, e *lockstep.Election, value string) *lockstep.Leadership {
	t.Helper()
	lead, err := e.Campaign(t.Context(), value)
	wantNo(t, err)
	return lead
}

// audience is somebody who observes an election.
type audience struct {
	t     *testing.T
	mu    sync.Mutex
	shown []lockstep.Leader
	err   error // that ended it
	ended bool
}

func observe(t *testing.T, e *lockstep.Election) *audience {
	return observeUntil(t.Context(), t, e)
}

func observeUntil(ctx context.Context, t *testing.T, e *lockstep.Election) *audience {
	a := &audience{t: t}
	go func() {
		for l, err := range e.Observe(ctx) {
			a.mu.Lock()
			if err == nil {
				a.shown = append(a.shown, l)
			}
			a.err = err
			a.mu.Unlock()
		}
		a.mu.Lock()
		a.ended = true
		a.mu.Unlock()
	}()
	return a
}

func (a *audience) all() []lockstep.Leader {
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.shown)
}

// want fails unless it was shown exactly these values so far; "" is a vacancy.
func (a *audience) want(values ...string) {
	a.t.Helper()
	var got []string
	for _, l := range a.all() {
		got = append(got, l.Value)
	}
	if !slices.Equal(got, values) {
		a.t.Fatalf("observed %q; want %q", got, values)
	}
}

func (a *audience) wantEnd(err error) {
	a.t.Helper()
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.ended || !errors.Is(a.err, err) {
		a.t.Fatalf("ended: %v, with %v; want %v", a.ended, a.err, err)
	}
}

func TestTryCampaignDoesNotWaitAndSaysWhoLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		first, err := s.client().Election("e").TryCampaign(t.Context(), "a")
		wantNo(t, err)
		other := s.client().Election("e")
		_, err = other.TryCampaign(t.Context(), "b")
		var held *lockstep.HeldError
		if !errors.Is(err, lockstep.ErrHeld) || !errors.As(err, &held) || string(held.Line.Holders[0].Note) != "a" {
			t.Fatalf("while another leads: %v", err)
		}
		wantNo(t, first.Release(t.Context()))
		_, err = other.TryCampaign(t.Context(), "b")
		wantNo(t, err)
	})
}

func TestObserversSeeTheLeaderItsValueAndTheVacancy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		e := s.client().Election("e")
		lead := campaign(t, e, "a")
		a := observe(t, s.client().Election("e"))
		a.want("a")
		wantNo(t, lead.Proclaim(t.Context(), "A"))
		a.want("a", "A")
		wantNo(t, lead.Release(t.Context()))
		a.want("a", "A", "")
		next := campaign(t, e, "b")
		a.want("a", "A", "", "b")
		if l, err := e.Leader(t.Context()); err != nil || l != (lockstep.Leader{ID: next.ID(), Value: "b", Token: next.Token()}) {
			t.Errorf("the leader is %+v, %v", l, err)
		}
	})
}

// The first watch breaks; the answer after it is from a copy that is behind.
func TestNoOlderTermIsShownAfterANewerOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := func(token engine.Token, value string) engine.Line {
			return engine.Line{Kind: engine.Election, Limit: 1, Holders: []engine.Place{
				{ID: engine.ClaimID(value), Token: token, Note: []byte(value)},
			}}
		}
		terms := []engine.Line{line(7, "w"), line(9, "x"), {}, line(7, "w"), line(8, "v"), line(9, "x"), line(10, "y")}
		c, r := newService(t).rigged()
		r.line = func(context.Context, lineFunc) (engine.Line, error) { return terms[len(terms)-1], nil }
		n := 0
		r.lines = func(ctx context.Context, _ linesFunc) iter.Seq2[engine.Line, error] {
			return func(yield func(engine.Line, error) bool) {
				if n == len(terms) {
					<-ctx.Done()
					yield(engine.Line{}, ctx.Err())
					return
				}
				n++
				_ = yield(terms[n-1], nil) && yield(engine.Line{}, errNoReply)
			}
		}
		a := observe(t, c.Election("e"))
		time.Sleep(time.Minute)
		a.want("w", "x", "", "x", "y")
	})
}

// A connection can die without a word: who observes asks once in a while.
func TestADeadWatchOfALineIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, r := s.rigged()
		var dead sync.Once
		r.lines = func(ctx context.Context, next linesFunc) iter.Seq2[engine.Line, error] {
			return func(yield func(engine.Line, error) bool) {
				silent := false
				dead.Do(func() { silent = true })
				for l, err := range next(ctx) {
					if !yield(l, err) || err != nil {
						return
					}
					if silent {
						<-ctx.Done()
						yield(engine.Line{}, ctx.Err())
						return
					}
				}
			}
		}
		a := observe(t, c.Election("e"))
		a.want("")
		campaign(t, s.client().Election("e"), "a")
		a.want("")
		time.Sleep(engine.Stale + time.Second)
		a.want("", "a")
	})
}

// A connection can also die before the first line came through it.
func TestAWatchOfALineThatDiesBeforeItsFirstLineIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := newService(t).rigged()
		var dead sync.Once
		r.lines = func(ctx context.Context, next linesFunc) iter.Seq2[engine.Line, error] {
			dead.Do(func() {
				next = func(ctx context.Context) iter.Seq2[engine.Line, error] {
					return func(yield func(engine.Line, error) bool) {
						<-ctx.Done()
						yield(engine.Line{}, ctx.Err())
					}
				}
			})
			return next(ctx)
		}
		a := observe(t, c.Election("e"))
		a.want()
		time.Sleep(engine.Stale + time.Second)
		a.want("") // nobody leads, and that is news
	})
}

func TestAnObserverEndsWithAnErrorOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, r := s.rigged()
		r.lines = func(ctx context.Context, next linesFunc) iter.Seq2[engine.Line, error] {
			return func(yield func(engine.Line, error) bool) {
				for l, err := range next(ctx) {
					if !yield(l, err) {
						return
					}
					break // as an engine that ends without an error, against the contract
				}
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		a, b := observeUntil(ctx, t, c.Election("e")), observe(t, c.Election("e"))
		time.Sleep(time.Minute)
		a.want("")
		campaign(t, s.client().Election("e"), "a")
		time.Sleep(time.Minute)
		a.want("", "a")
		cancel()
		a.wantEnd(context.Canceled)
		wantNo(t, c.Close())
		b.wantEnd(lockstep.ErrClosed)
	})
}

func TestAMutexIsNoLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newService(t).client()
		lock(t, c.Mutex("n"))
		_, err := c.Election("n").Leader(t.Context())
		wantErr(t, err, lockstep.ErrMismatch)
		observe(t, c.Election("n")).wantEnd(lockstep.ErrMismatch)
	})
}

// S1: the engine may let the next lead before Transfer hears of it.
func TestTheLeadEndsBeforeTheEngineIsAskedToPassIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := newService(t).rigged()
		e := c.Election("e")
		lead := campaign(t, e, "a")
		ctx := lead.Context()
		go e.Campaign(t.Context(), "b")
		synctest.Wait()
		r.set(func() {
			r.pass = func(c context.Context, next func(context.Context) error) error {
				if !errors.Is(lead.Err(), lockstep.ErrReleased) || ctx.Err() == nil {
					t.Errorf("asked to pass a lead that is still believed: %v", lead.Err())
				}
				return next(c)
			}
		})
		wantNo(t, lead.Transfer(t.Context(), "b"))
	})
}

// The candidate is there when it is looked for, and gone when its turn comes.
func TestALeadThatNobodyTakesIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, r := s.rigged()
		e := c.Election("e")
		lead := campaign(t, e, "a")
		ctx, leave := context.WithCancel(t.Context())
		go s.client().Election("e").Campaign(ctx, "b")
		synctest.Wait()
		next := make(chan *lockstep.Leadership, 1)
		go func() { next <- campaign(t, s.client().Election("e"), "c") }()
		synctest.Wait()
		r.set(func() {
			r.pass = func(c context.Context, next func(context.Context) error) error {
				leave()
				synctest.Wait()
				return next(c)
			}
		})
		wantErr(t, lead.Transfer(t.Context(), "b"), lockstep.ErrNotFound)
		asked := time.Now()
		<-next
		if late := time.Since(asked); late > 0 {
			t.Errorf("the next leads %v later", late)
		}
	})
}

func TestATransferThatGetsNoAnswerLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, r := s.rigged()
		lead := campaign(t, c.Election("e"), "a")
		next := make(chan *lockstep.Leadership, 1)
		go func() { next <- campaign(t, s.client().Election("e"), "b") }()
		synctest.Wait()
		r.set(func() { r.pass = func(context.Context, func(context.Context) error) error { return errNoReply } })
		wantErr(t, lead.Transfer(t.Context(), "b"), lockstep.ErrUnavailable)
		<-next
	})
}

func TestALeaderThatWasRemovedLearnsItFromProclaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, r := s.rigged()
		lead := campaign(t, c.Election("e"), "a")
		r.set(func() {
			r.setNote = func(context.Context, []byte, func(context.Context, []byte) error) error { return engine.ErrNotFound }
		})
		wantErr(t, lead.Proclaim(t.Context(), "b"), lockstep.ErrLost)
		wantErr(t, lead.Err(), lockstep.ErrLost)
		r.set(func() { r.setNote = nil })
		campaign(t, c.Election("e"), "b")
	})
}

func TestRunGivesUpTheLeadOnlyAfterItsFunctionReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		ctx, cancel := context.WithCancel(t.Context())
		finished := make(chan error, 1)
		stop, done := make(chan struct{}), errors.New("done")
		go func() {
			finished <- s.client().Election("e").Run(ctx, "a", func(context.Context) error {
				<-stop // whatever its context says
				return done
			})
		}()
		synctest.Wait()
		a := observe(t, s.client().Election("e"))
		a.want("a")
		cancel()
		time.Sleep(time.Minute)
		a.want("a")
		close(stop)
		wantErr(t, <-finished, done)
		a.want("a", "")
	})
}

func TestRunCampaignsAgainWhateverTookTheLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, r := s.rigged()
		began := make(chan context.Context)
		finished := make(chan error, 1)
		go func() {
			finished <- c.Election("e").Run(t.Context(), "a", func(ctx context.Context) error {
				began <- ctx
				<-ctx.Done()
				return ctx.Err()
			})
		}()
		var last lockstep.Token
		newer := func() *lockstep.Leadership {
			lead := lockstep.LeadershipFrom(<-began)
			if lead.Token() <= last {
				t.Errorf("token %d after %d (S2)", lead.Token(), last)
			}
			last = lead.Token()
			return lead
		}
		lead := newer() // its network dies for longer than its session lives
		r.set(func() { r.cut = true })
		time.Sleep(3 * ttl)
		wantErr(t, lead.Err(), lockstep.ErrLost)
		r.set(func() { r.cut = false })

		lead = newer() // it is removed by force
		wantNo(t, c.Remove(t.Context(), "e", lead.ID()))
		wantNo(t, newer().Release(t.Context())) // it resigns
		lead = newer()                          // it hands over
		other := make(chan *lockstep.Leadership, 1)
		go func() { other <- campaign(t, s.client().Election("e"), "b") }()
		synctest.Wait()
		wantNo(t, lead.Transfer(t.Context(), "b"))
		wantNo(t, (<-other).Release(t.Context()))
		newer()
		wantNo(t, c.Close())
		wantErr(t, <-finished, lockstep.ErrClosed)
	})
}

func TestRunGoesOnWhileTheEngineCannotBeReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := newService(t).rigged()
		r.begin = func(context.Context, beginFunc) (engine.Session, error) { return nil, errNoReply }
		finished := make(chan error, 1)
		go func() { finished <- c.Election("e").Run(t.Context(), "a", func(context.Context) error { return nil }) }()
		time.Sleep(time.Hour)
		r.set(func() { r.begin = nil })
		wantNo(t, <-finished)
	})
}

func TestRunEndsWithAnErrorThatNoRepetitionChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newService(t).client()
		never := func(context.Context) error { t.Error("called"); return nil }
		lock(t, c.Mutex("n"))
		wantErr(t, c.Election("n").Run(t.Context(), "a", never), lockstep.ErrMismatch)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		wantErr(t, c.Election("e").Run(ctx, "a", never), context.Canceled)
		wantErr(t, (&lockstep.Election{}).Run(t.Context(), "a", never), lockstep.ErrInvalid)
		wantErr(t, c.Election("e").Run(t.Context(), string(make([]byte, lockstep.MaxNote+1)), never), lockstep.ErrInvalid)
	})
}
