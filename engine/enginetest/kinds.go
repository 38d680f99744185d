package enginetest

import (
	"errors"
	"slices"

	"github.com/lockstep-go/lockstep/engine"
)

var kindChecks = []check{
	{rule: "every kind that Info names is granted and shown", run: everyKind},
	{rule: "a kind that Info does not name is refused", run: unknownKinds},
	{rule: "one name, one kind", run: oneNameOneKind},
	{rule: "one semaphore, one limit", needs: needSemaphore, run: oneSemaphoreOneLimit},
	{rule: "a name that nobody uses has no kind", run: unusedNameHasNoKind},
	{rule: "a map never makes a lock wait and never shows its claims", needs: needStore, run: mapBesideLock},
}

// exclusive is a claim of any kind that nobody can hold beside: but a group's.
func exclusive(name string, k engine.Kind) *engine.Claim {
	switch k {
	case engine.ReadWrite:
		return writer(name)
	case engine.Semaphore:
		return semaphore(name, 3, 3)
	case engine.Group:
		return claim(name, engine.Group, 1, engine.Unlimited)
	}
	return claim(name, k, 1, 1)
}

// kindIs allows for layouts that do not tell.
func kindIs(l engine.Line, c *engine.Claim) bool {
	return l.Kind == 0 || l.Kind == c.Kind && l.Limit == c.Limit
}

var allKinds = []engine.Kind{engine.Mutex, engine.ReadWrite, engine.Semaphore, engine.Election, engine.Group}

func everyKind(t TB, s *suite) {
	a := s.client(t)
	for _, k := range s.info.Kinds {
		cl := exclusive(a.name(), k)
		g := a.acquire(cl)
		l := a.line(cl.Name)
		if !kindIs(l, cl) || len(l.Holders) != 1 || l.Holders[0].Shares != cl.Shares || g.Token == 0 {
			t.Errorf("%v: token %d; its line: %v of %d, %s", k, g.Token, l.Kind, l.Limit, showLine(l))
		}
		a.release(cl)
	}
}

func unknownKinds(t TB, s *suite) {
	a := s.client(t)
	for _, k := range allKinds {
		if slices.Contains(s.info.Kinds, k) {
			continue
		}
		cl := exclusive(a.name(), k)
		is(t, k.String(), a.refused(cl), engine.ErrUnsupported)
		if l := a.line(cl.Name); len(l.Holders)+len(l.Waiters) > 0 {
			t.Errorf("%v: refused, and left %s", k, showLine(l))
		}
	}
}

func oneNameOneKind(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	for _, used := range s.info.Kinds {
		for _, wanted := range s.info.Kinds {
			if used == wanted {
				continue
			}
			name := a.name()
			held := exclusive(name, used)
			a.acquire(held)
			for _, cl := range []*engine.Claim{exclusive(name, wanted), try(exclusive(name, wanted))} {
				wantMismatch(t, b.refused(cl), name, held, cl)
			}
			if l := b.line(name); !kindIs(l, held) || len(l.Holders) != 1 || len(l.Waiters) > 0 {
				t.Errorf("%v on a %v: %v, %s", wanted, used, l.Kind, showLine(l))
			}
			a.release(held)
		}
	}
}

func wantMismatch(t TB, err error, name string, held, wanted *engine.Claim) {
	t.Helper()
	var m *engine.MismatchError
	if !errors.As(err, &m) || !errors.Is(err, engine.ErrMismatch) {
		t.Errorf("%s on a name used by %s: %v, want a *MismatchError", show(wanted), show(held), err)
		return
	}
	tells := m.Kind == held.Kind && m.Limit == held.Limit || m.Kind == 0 && m.Detail != ""
	if !tells || m.Name != name || m.WantKind != wanted.Kind || m.WantLimit != wanted.Limit {
		t.Errorf("%s on a name used by %s: the error says %+v", show(wanted), show(held), *m)
	}
}

func oneSemaphoreOneLimit(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	held, other := semaphore(name, 1, 3), semaphore(name, 1, 4)
	a.acquire(held)
	wantMismatch(t, b.refused(other), name, held, other)
	b.acquire(semaphore(name, 1, 3))
}

func unusedNameHasNoKind(t TB, s *suite) {
	a := s.client(t)
	name := a.name()
	for _, k := range s.info.Kinds {
		cl := exclusive(name, k)
		a.acquire(cl)
		a.release(cl)
	}
	if l := a.line(name); l.Kind != 0 || len(l.Holders)+len(l.Waiters) > 0 {
		t.Errorf("a name that nobody uses: %v, %s", l.Kind, showLine(l))
	}
}

// mapBesideLock: a service may keep locks and maps apart, or answer ErrMismatch;
// never does one wait for the other.
func mapBesideLock(t TB, s *suite) {
	a := s.client(t)
	for _, key := range []string{"", "key"} {
		name := a.name()
		cl := mutex(name)
		a.acquire(cl)
		_, err := a.engine.Store().Commit(a.ctx, name, engine.Tx{Put: []engine.Entry{put(key, "value")}})
		if err != nil && !errors.Is(err, engine.ErrMismatch) {
			t.Errorf("key %q of a map beside a held lock: %v", key, a.cause(err))
		}
		ev, listErr := a.engine.Store().List(a.ctx, name)
		if listErr != nil && !errors.Is(listErr, engine.ErrMismatch) {
			t.Errorf("List beside a held lock: %v", listErr)
		}
		if want := map[bool]int{true: 1, false: 0}[err == nil]; listErr == nil && len(ev.Entries) != want {
			t.Errorf("List beside a held lock shows %d entries, want %d: %+v", len(ev.Entries), want, ev.Entries)
		}
		a.release(cl)

		other := a.name()
		if _, err := a.engine.Store().Commit(a.ctx, other, engine.Tx{Put: []engine.Entry{put(key, "value")}}); err != nil {
			t.Fatalf("Commit: %v", err)
		}
		if _, err := a.attempt(a.ctx, mutex(other), false); err != nil && !errors.Is(err, engine.ErrMismatch) {
			t.Errorf("a lock beside key %q of a map: %v", key, a.cause(err))
		}
	}
}
