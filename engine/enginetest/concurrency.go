package enginetest

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

var concurrencyChecks = []check{
	{rule: "no two believe to hold at one time, and tokens rise", run: exclusion},
	{rule: "with leavers in between as well", run: exclusionWithLeavers},
	{rule: "readers and writers exclude each other", needs: needReadWrite, run: readWriteExclusion},
	{rule: "no more hold than the limit", needs: needSemaphore, run: limitHolds},
	{rule: "many names at once are independent", run: manyNames},
}

const workers, rounds = 6, 8

// contend runs the workers, each on its own goroutine, two to a client.
func contend(t TB, s *suite, work func(c *client, worker int)) {
	t.Helper()
	var all sync.WaitGroup
	var c *client
	for w := range workers {
		if w%2 == 0 {
			c = s.client(t)
		}
		mine := c
		all.Go(func() { work(mine, w) })
	}
	all.Wait()
}

// work is how long a holder stays inside, so that whoever should not be there
// beside it has the time to come.
const work = 2 * time.Millisecond

// hold acquires, works inside and releases. It says when it believed to hold.
func (c *client) hold(cl *engine.Claim, inside func()) (belief, bool) {
	g, err := c.attempt(c.ctx, cl, false)
	start := time.Now()
	if err != nil {
		c.Errorf("Acquire: %v", c.cause(err))
		return belief{}, false
	}
	inside()
	time.Sleep(work)
	end := time.Now()
	if removed, err := c.session.Release(c.ctx, cl); err != nil || !removed {
		c.Errorf("Release: removed %v, %v", removed, c.cause(err))
	}
	return belief{g.Token, start, end}, true
}

// believe is a holder's time inside, after an Acquire of its own.
func believe(p *pending) belief {
	time.Sleep(work)
	return belief{p.grant.Token, p.at, time.Now()}
}

// history is what happened on one name.
type history struct {
	sync.Mutex
	beliefs []belief
}

func (h *history) add(b belief, ok bool) {
	h.Lock()
	defer h.Unlock()
	if ok {
		h.beliefs = append(h.beliefs, b)
	}
}

func (h *history) check(t TB, want int) {
	t.Helper()
	for _, fault := range overlaps(h.beliefs) {
		t.Errorf("%s", fault)
	}
	if len(h.beliefs) != want {
		t.Errorf("%d grants, want %d", len(h.beliefs), want)
	}
}

func exclusion(t TB, s *suite) {
	name := s.client(t).name()
	var h history
	contend(t, s, func(c *client, _ int) {
		for range rounds {
			h.add(c.hold(mutex(name), func() {}))
		}
	})
	h.check(t, workers*rounds)
}

func exclusionWithLeavers(t TB, s *suite) {
	name := s.client(t).name()
	var h history
	contend(t, s, func(c *client, w int) {
		for range rounds {
			if w%3 != 0 {
				h.add(c.hold(mutex(name), func() {}))
				continue
			}
			p := c.begin(mutex(name), false)
			c.engine.Line(c.ctx, name) // a moment that is some work long
			p.cancel()
			<-p.done
			withdraw(t, s, c, p.claim)
		}
	})
	h.check(t, workers*rounds*2/3)
}

func readWriteExclusion(t TB, s *suite) {
	name := s.client(t).name()
	var readers, writers atomic.Int32
	contend(t, s, func(c *client, w int) {
		for i := range rounds {
			if (i+w)%3 == 0 {
				c.hold(writer(name), func() {
					if n := writers.Add(1) + readers.Load(); n != 1 {
						t.Errorf("%d others beside a writer", n-1)
					}
					time.Sleep(work)
					if readers.Load() > 0 {
						t.Errorf("a reader beside a writer")
					}
					writers.Add(-1)
				})
				continue
			}
			c.hold(reader(name), func() {
				readers.Add(1)
				time.Sleep(work)
				if writers.Load() > 0 {
					t.Errorf("a writer beside a reader")
				}
				readers.Add(-1)
			})
		}
	})
}

func limitHolds(t TB, s *suite) {
	const limit = 3
	name := s.client(t).name()
	var held atomic.Int32
	contend(t, s, func(c *client, w int) {
		shares := 1 + w%limit
		for range rounds {
			c.hold(semaphore(name, shares, limit), func() {
				if n := held.Add(int32(shares)); n > limit {
					t.Errorf("%d shares of %d are held", n, limit)
				}
				time.Sleep(work)
				held.Add(int32(-shares))
			})
		}
	})
}

func manyNames(t TB, s *suite) {
	base := s.client(t).name()
	contend(t, s, func(c *client, w int) {
		for i := range rounds {
			var h history
			h.add(c.hold(mutex(base+string(rune('a'+w))+string(rune('a'+i))), func() {}))
			h.check(t, 1)
		}
	})
}
