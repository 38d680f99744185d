package enginetest

import "time"

var idleChecks = []check{
	{rule: "waiters cost nothing while nothing changes", needs: needTransactions, alone: true, run: waitersCostNothing},
	{rule: "a release costs the same whatever the number of waiters", needs: needTransactions | needFIFO, alone: true, run: releaseCostsTheSame},
}

// quiet is how long nothing may be asked of the service.
const quiet = 2 * time.Second

// crowd is a holder and n waiters in its line.
func crowd(t TB, s *suite, n int) (holder *pending, queue []*pending) {
	t.Helper()
	a, b := s.client(t), s.client(t)
	name := a.name()
	holder = a.begin(mutex(name), false)
	holder.granted()
	for i := range n {
		queue = append(queue, []*client{a, b}[i%2].enqueue(mutex(name)))
	}
	return holder, queue
}

// waitersCostNothing looks at a stretch of time in which nobody does anything;
// sessions are long, so there is no renewal in it (S8).
func waitersCostNothing(t TB, s *suite) {
	crowd(t, s, 20)
	before := s.Transactions(t)
	time.Sleep(quiet)
	if n := s.Transactions(t) - before; n > 0 {
		t.Errorf("20 waiters cost %d transactions in %v (S8)", n, quiet)
	}
}

// releaseCostsTheSame allows three transactions beside the release's own.
func releaseCostsTheSame(t TB, s *suite) {
	holder, queue := crowd(t, s, 40)
	before := s.Transactions(t)
	holder.release(holder.claim)
	queue[0].granted()
	time.Sleep(quiet) // for those that should not have been woken
	if n := s.Transactions(t) - before; n > 4 {
		t.Errorf("a release to one of 40 waiters cost %d transactions, want its own and at most 3 (S8)", n)
	}
}
