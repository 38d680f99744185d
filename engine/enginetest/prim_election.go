package enginetest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

var electionChecks = []check{
	{rule: "candidates lead in the order of the line, with rising tokens", needs: needElection | needFIFO, run: leadInOrder},
	{rule: "an observer sees the leader, its value, the vacancy and the next", needs: needElection, run: observeTerms},
	{rule: "whatever happens to a proclamation, observers see the last", needs: needElection, run: proclaimOnBadNetwork},
	{rule: "whatever happens to a transfer, the named candidate leads", needs: needElection | needPass | needFIFO, run: transferOnBadNetwork},
	{rule: "a transfer to nobody changes nothing", needs: needElection | needPass, run: transferToNobody},
	{rule: "an engine without Pass refuses a transfer", needs: needElection | needNoPass, run: transferRefused},
	{rule: "an observer whose watch breaks sees the last term", needs: needElection, run: observeOnBadNetwork},
	{rule: "Run waits for its function, and campaigns again after a loss", needs: needElection, run: runAgain},
	{rule: "leaders killed in turn never overlap, and every observer sees rising terms up to the last", needs: needElection, run: killInTurn},
}

// campaign must be won.
func (c *client) campaign(lc *lockstep.Client, name, value string) *lockstep.Leadership {
	c.Helper()
	lead, err := lc.Election(name).Campaign(c.ctx, value)
	if err != nil {
		c.Fatalf("Campaign of %s: %v", value, c.cause(err))
	}
	return lead
}

// candidate campaigns in the background, and is in line when it is returned.
func (c *client) candidate(lc *lockstep.Client, name, value string) <-chan *lockstep.Leadership {
	c.Helper()
	won := make(chan *lockstep.Leadership, 1)
	c.attempts.Go(func() {
		lead, err := lc.Election(name).Campaign(c.ctx, value)
		if err != nil && c.ctx.Err() == nil {
			c.Errorf("Campaign of %s: %v", value, err)
		}
		won <- lead
	})
	c.await(name, value+" to be in line", func(l engine.Line) bool { return hasNote(l.Waiters, value) })
	return won
}

func hasNote(places []engine.Place, note string) bool {
	return slices.ContainsFunc(places, func(p engine.Place) bool { return string(p.Note) == note })
}

// won is what a candidate's campaign came to.
func (c *client) won(campaign <-chan *lockstep.Leadership) *lockstep.Leadership {
	c.Helper()
	select {
	case lead := <-campaign:
		if lead == nil {
			c.Fatalf("a campaign failed")
		}
		return lead
	case <-c.ctx.Done():
		c.Fatalf("waiting for a campaign: %v", context.Cause(c.ctx))
	}
	return nil
}

func (c *client) resign(l *lockstep.Leadership) {
	c.Helper()
	if err := l.Release(c.ctx); err != nil {
		c.Errorf("Release of the lead: %v", c.cause(err))
	}
}

func leadInOrder(t TB, s *suite) {
	a := s.client(t)
	lc, _ := s.coreClient(t, coreTTL)
	other, _ := s.coreClient(t, coreTTL)
	name := a.name()
	first := a.campaign(lc, name, "a")
	second := a.candidate(other, name, "b")
	third := a.candidate(lc, name, "c")
	tokens := []engine.Token{first.Token()}
	for _, next := range []<-chan *lockstep.Leadership{second, third} {
		a.resign(first)
		first = a.won(next)
		tokens = append(tokens, first.Token())
	}
	if !slices.IsSorted(tokens) || slices.Compact(tokens)[2] == 0 {
		t.Errorf("tokens %v, want them to rise (S2)", tokens)
	}
	if l, err := other.Election(name).Leader(a.ctx); err != nil || l.Value != "c" || l.ID != first.ID() {
		t.Errorf("the leader is %+v, %v; want c", l, err)
	}
	a.resign(first)
	if l, err := other.Election(name).Leader(a.ctx); err != nil || !l.Vacant() {
		t.Errorf("the leader is %+v, %v; want none", l, err)
	}
}

// observer keeps what Observe yields.
type observer struct {
	mu   sync.Mutex
	seen []lockstep.Leader
	bell chan struct{}
}

func (c *client) observe(lc *lockstep.Client, name string) *observer {
	o := &observer{bell: make(chan struct{}, 1)}
	c.attempts.Go(func() {
		for l, err := range lc.Election(name).Observe(c.ctx) {
			if err != nil {
				if c.ctx.Err() == nil {
					c.Errorf("Observe: %v", err)
				}
				return
			}
			o.mu.Lock()
			o.seen = append(o.seen, l)
			o.mu.Unlock()
			select {
			case o.bell <- struct{}{}:
			default:
			}
		}
	})
	return o
}

func (o *observer) all() []lockstep.Leader {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.seen)
}

// last waits until the newest that an observer was shown is right.
func (c *client) last(o *observer, what string, ok func(lockstep.Leader) bool) {
	c.Helper()
	for {
		seen := o.all()
		if n := len(seen); n > 0 && ok(seen[n-1]) {
			return
		}
		select {
		case <-o.bell:
		case <-c.ctx.Done():
			c.Fatalf("an observer was not shown %s: %v; it saw %+v", what, context.Cause(c.ctx), seen)
		}
	}
}

func leads(l *lockstep.Leadership, value string) func(lockstep.Leader) bool {
	return func(seen lockstep.Leader) bool {
		return seen.ID == l.ID() && seen.Value == value && seen.Token == l.Token()
	}
}

func observeTerms(t TB, s *suite) {
	a := s.client(t)
	lc, _ := s.coreClient(t, coreTTL)
	other, _ := s.coreClient(t, coreTTL)
	name := a.name()
	o := a.observe(other, name)
	a.last(o, "a vacancy", lockstep.Leader.Vacant)
	lead := a.campaign(lc, name, "first")
	a.last(o, "the leader", leads(lead, "first"))
	late := a.observe(other, name)
	a.last(late, "the present leader", leads(lead, "first"))
	if l := late.all()[0]; l.Vacant() {
		t.Errorf("an observer began with %+v while somebody led", l)
	}
	if err := lead.Proclaim(a.ctx, "anew"); err != nil {
		t.Errorf("Proclaim: %v", a.cause(err))
	}
	a.last(o, "the new value", leads(lead, "anew"))
	a.resign(lead)
	a.last(o, "a vacancy", lockstep.Leader.Vacant)
	next := a.campaign(other, name, "second")
	a.last(o, "the next leader", leads(next, "second"))
	a.last(late, "the next leader", leads(next, "second"))
	is(t, "Proclaim of who no longer leads", lead.Proclaim(a.ctx, "x"), lockstep.ErrReleased)
	a.resign(next)
}

func proclaimOnBadNetwork(t TB, s *suite) {
	a := s.client(t)
	lc, f := s.coreClient(t, coreTTL)
	other, _ := s.coreClient(t, coreTTL)
	name := a.name()
	lead := a.campaign(lc, name, "")
	o := a.observe(other, name)
	for i, fault := range networkFaults {
		f.On(SetNote, 1, fault)
		for _, value := range []string{fault.String(), strconv.Itoa(i)} {
			if err := lead.Proclaim(a.ctx, value); err != nil {
				t.Errorf("%v: Proclaim: %v", fault, a.cause(err))
			}
			f.Arrived() // what sets out after the next call is a later one
		}
		l, err := other.Election(name).Leader(a.ctx)
		if err != nil || !leads(lead, strconv.Itoa(i))(l) {
			t.Errorf("%v: the leader is %+v, %v; want value %d", fault, l, err, i)
		}
		a.last(o, "the last value", leads(lead, strconv.Itoa(i)))
	}
	a.resign(lead)
}

func transferOnBadNetwork(t TB, s *suite) {
	a := s.client(t)
	lc, f := s.coreClient(t, coreTTL)
	other, _ := s.coreClient(t, coreTTL)
	for _, fault := range append([]Fault{0}, networkFaults...) {
		name := a.name()
		lead := a.campaign(lc, name, "a")
		first, heir := a.candidate(other, name, "b"), a.candidate(other, name, "c")
		if fault != 0 {
			f.On(Pass, 1, fault)
		}
		if err := lead.Transfer(a.ctx, "c"); err != nil {
			t.Errorf("%v: Transfer: %v", fault, a.cause(err))
		}
		is(t, fault.String()+": who handed over", lead.Err(), lockstep.ErrReleased)
		led := a.won(heir)
		f.Arrived()
		a.wantLine(fault.String(), name, claimIDs{led.ID()}, ids(a.line(name).Waiters))
		if led.Token() <= lead.Token() {
			t.Errorf("%v: token %d after %d (S2)", fault, led.Token(), lead.Token())
		}
		a.resign(led)
		a.resign(a.won(first))
		a.empty(name)
	}
}

func transferToNobody(t TB, s *suite) {
	a := s.client(t)
	lc, _ := s.coreClient(t, coreTTL)
	name := a.name()
	lead := a.campaign(lc, name, "a")
	waiter := a.candidate(lc, name, "b")
	is(t, "Transfer to nobody", lead.Transfer(a.ctx, "c"), lockstep.ErrNotFound)
	if err := lead.Err(); err != nil {
		t.Errorf("the lead after it: %v", err)
	}
	a.resign(lead)
	a.resign(a.won(waiter))
}

func transferRefused(t TB, s *suite) {
	a := s.client(t)
	lc, _ := s.coreClient(t, coreTTL)
	name := a.name()
	lead := a.campaign(lc, name, "a")
	is(t, "Transfer", lead.Transfer(a.ctx, "b"), lockstep.ErrUnsupported)
	if err := lead.Err(); err != nil {
		t.Errorf("the lead after it: %v", err)
	}
	a.resign(lead)
}

func observeOnBadNetwork(t TB, s *suite) {
	const terms = 10
	a := s.client(t)
	lc, _ := s.coreClient(t, coreTTL)
	name := a.name()
	var observers []*observer
	for i := range 3 {
		other, f := s.coreClient(t, coreTTL)
		f.Random(uint64(i), 0.4, DropRequest)
		observers = append(observers, a.observe(other, name))
	}
	var lead *lockstep.Leadership
	for i := range terms {
		lead = a.campaign(lc, name, strconv.Itoa(i))
		if i < terms-1 {
			a.resign(lead)
		}
	}
	for _, o := range observers {
		a.last(o, "the last term", leads(lead, strconv.Itoa(terms-1)))
		rise(t, o)
	}
	a.resign(lead)
}

// rise fails where an observer was shown an older term after a newer one.
func rise(t TB, o *observer) {
	t.Helper()
	var newest engine.Token
	for _, l := range o.all() {
		if l.Token != 0 && l.Token < newest {
			t.Errorf("token %d was shown after %d", l.Token, newest)
		}
		newest = max(newest, l.Token)
	}
}

func runAgain(t TB, s *suite) {
	a := s.client(t)
	lc, f := s.coreClient(t, 2*time.Second)
	name := a.name()
	began, done := make(chan engine.Token, 2), errors.New("done")
	var terms, inside int // Run has one function at a time
	finished := make(chan error, 1)
	a.attempts.Go(func() {
		finished <- lc.Election(name).Run(a.ctx, "a", func(ctx context.Context) error {
			terms++
			if inside++; inside > 1 {
				t.Errorf("two functions at one time")
			}
			defer func() { inside-- }()
			began <- lockstep.LeadershipFrom(ctx).Token()
			if terms == 2 {
				return done
			}
			<-ctx.Done()
			return ctx.Err()
		})
	})
	receive := func() (token engine.Token) {
		select {
		case token = <-began:
		case <-a.ctx.Done():
			t.Fatalf("waiting for Run's function: %v", context.Cause(a.ctx))
		}
		return token
	}
	first := receive()
	f.On(Renew, 1, SessionEnds)
	if second := receive(); second <= first {
		t.Errorf("token %d after %d (S2)", second, first)
	}
	if err := <-finished; !errors.Is(err, done) {
		t.Errorf("Run: %v, want what its function returned", err)
	}
	a.empty(name)
}

// A killed leader's network is dead until somebody else leads: it can renew
// nothing and tell nobody.
func killInTurn(t TB, s *suite) {
	const candidates, observers, kills = 5, 10, 4
	a := s.client(t)
	name := a.name()
	var seen []*observer
	for range observers {
		lc, _ := s.coreClient(t, coreTTL)
		seen = append(seen, a.observe(lc, name))
	}
	type term struct {
		lead *lockstep.Leadership
		f    *FaultyEngine
	}
	var h history
	terms := make(chan term)
	ctx, end := context.WithCancel(a.ctx)
	defer end()
	var all sync.WaitGroup
	for range candidates {
		lc, f := s.coreClient(t, shortTTL)
		all.Go(func() {
			err := lc.Election(name).Run(ctx, "", func(ctx context.Context) error {
				lead, start := lockstep.LeadershipFrom(ctx), time.Now()
				select {
				case terms <- term{lead, f}:
					<-ctx.Done()
				case <-ctx.Done():
				}
				now := time.Now()
				if until := lead.Until(); until.Before(now) { // this goroutine may have stood still
					now = until
				}
				h.add(belief{lead.Token(), start, now}, true)
				return ctx.Err()
			})
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("Run: %v", err)
			}
		})
	}
	var last term
	for i := range kills + 1 {
		var next term
		select {
		case next = <-terms:
		case <-a.ctx.Done():
			t.Fatalf("waiting for leader %d: %v", i, context.Cause(a.ctx))
		}
		if last.f != nil {
			last.f.Heal()
		}
		if last = next; i < kills {
			last.f.Random(uint64(i), 1, DropRequest)
		}
	}
	for _, o := range seen {
		a.last(o, "the last term", func(l lockstep.Leader) bool { return l.Token >= last.lead.Token() })
		rise(t, o)
	}
	end()
	all.Wait()
	for _, fault := range overlaps(h.beliefs) {
		t.Errorf("%s", fault)
	}
}
