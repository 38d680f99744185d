package enginetest

import "github.com/lockstep-go/lockstep/engine"

var readWriteChecks = []check{
	{rule: "readers share", needs: needReadWrite, run: readersShare},
	{rule: "a writer excludes readers and writers", needs: needReadWrite, run: writerExcludes},
	{rule: "a reader waits behind a waiting writer", needs: needFIFO | needReadWrite, run: readerBehindWriter},
	{rule: "a waiting writer that leaves lets readers in", needs: needReadWrite, run: waitingWriterLeaves},
	{rule: "all readers behind a writer enter together", needs: needReadWrite, run: readersEnterTogether},
}

func readersShare(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	for i := range 6 {
		[]*client{a, b}[i%2].acquire(reader(name))
	}
	l := b.line(name)
	if len(l.Holders) != 6 || !kindIs(l, reader(name)) {
		t.Errorf("%v of limit %d: %s, want six readers", l.Kind, l.Limit, showLine(l))
	}
}

func writerExcludes(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	w := writer(name)
	a.acquire(w)
	w2 := b.enqueue(writer(name))
	r := b.enqueue(reader(name))
	w2.waits()
	r.waits()
	if l := a.line(name); l.Holders[0].Shares != engine.Unlimited || l.Waiters[1].Shares != 1 {
		t.Errorf("shares are shown as %s", showLine(l))
	}
	a.release(w)
	l := a.await(name, "a successor", func(l engine.Line) bool { return len(l.Holders) > 0 })
	if len(l.Holders) != 1 {
		t.Errorf("a writer and a reader hold: %s", showLine(l))
	}
}

func readerBehindWriter(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	r := reader(name)
	a.acquire(r)
	w := b.enqueue(writer(name))
	late := a.enqueue(reader(name))
	a.release(r)
	w.granted()
	late.waits()
	b.release(w.claim)
	late.granted()
}

func waitingWriterLeaves(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	a.acquire(reader(name))
	w := b.enqueue(writer(name))
	r := a.enqueue(reader(name))
	w.leave()
	r.granted()
}

func readersEnterTogether(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	w := writer(name)
	a.acquire(w)
	var readers []*pending
	for i := range 4 {
		readers = append(readers, []*client{a, b}[i%2].enqueue(reader(name)))
	}
	a.release(w)
	for _, r := range readers {
		r.granted()
	}
}
