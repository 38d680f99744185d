package redisengine

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/faultnet"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

func TestAHandOverIsOneScript(t *testing.T) {
	server := redistest.Start(t)
	a, b := newClient(t, server), newClient(t, server)
	warm(a)
	held := mutex("n")
	a.take(held)
	b.listens()
	next := b.queue(mutex("n"))
	before := server.ScriptsRun(t)
	a.give(held)
	next.granted()
	if n := server.ScriptsRun(t) - before; n != 1 {
		t.Errorf("a release and the grant of the next took %d scripts, want the release alone", n)
	}
}

// warm has the server know the scripts: the first of each is sent twice.
func warm(c *client) {
	cl := mutex("warm")
	c.take(cl)
	c.give(cl)
}

func TestNobodyIsGrantedAFreeNameBeforeThoseInLine(t *testing.T) {
	server := redistest.Start(t)
	a, b := newClient(t, server), newClient(t, server)
	held := mutex("n")
	a.take(held)
	next := b.queue(mutex("n"))
	ask(t, server, "DEL", "n") // as if it had expired: nobody was told
	if _, err := a.Acquire(storeContext(t), try(mutex("n")), false); err == nil {
		t.Error("a newcomer was granted the name before the one in line (S7)")
	}
	next.granted()
}

// Tokens rise though the server forgot, restarted, or let the counter expire.
func TestTokensRiseWhateverTheServerForgets(t *testing.T) {
	server := redistest.Start(t)
	var last engine.Token
	grant := func(after string) {
		t.Helper()
		c := newClient(t, server)
		cl := mutex("n")
		g := c.take(cl)
		if g.Token <= last {
			t.Errorf("after %s: token %d after %d (S2)", after, g.Token, last)
		}
		last = g.Token
		c.give(cl)
	}
	grant("nothing")
	grant("a release")
	ask(t, server, "FLUSHALL")
	grant("FLUSHALL")
	ask(t, server, "DEL", root("n")+"state")
	grant("the end of its retention")
	server.Restart()
	grant("a restart")
}

func TestAFullServerLetsGoAndRefusesWhatIsNew(t *testing.T) {
	server := redistest.Start(t)
	a, b := newClient(t, server), newClient(t, server)
	held, alone := mutex("n"), mutex("alone")
	a.take(held)
	a.take(alone)
	next := b.queue(mutex("n"))
	fill(t, server)
	_, err := a.Acquire(storeContext(t), mutex("new"), false)
	wantError(t, err, engine.ErrUnusable, "memory is full")
	for _, key := range keysOf(t, server) {
		if strings.Contains(key, "new") {
			t.Errorf("a refused claim left %s", key)
		}
	}
	if r, err := a.Renew(storeContext(t), []*engine.Claim{held, alone}); err != nil || len(r.Lost)+len(r.Unsure) > 0 {
		t.Errorf("renew: %+v, %v", r, err)
	}
	a.give(alone)
	a.give(held)
	next.granted()
}

// An administrator can take the channels away while locks are held: no script may
// fail half-way then.
func TestAReleaseIsWholeThoughNobodyMayBeTold(t *testing.T) {
	server := redistest.Start(t)
	a, b := newClient(t, server), newClient(t, server)
	held, next := mutex("n"), mutex("n")
	a.take(held)
	waiting := b.queue(next)
	ask(t, server, "ACL", "SETUSER", "default", "resetchannels")
	a.give(held)
	if v := ask(t, server, "GET", "n"); v != nil {
		t.Errorf("the name is %v, and nobody was told", v)
	}
	// The waiter finds out with its next renewal, and needs no channel for it.
	if _, err := b.Renew(storeContext(t), []*engine.Claim{next}); err != nil {
		t.Fatal(err)
	}
	waiting.granted()
}

func TestAKeyOfAnotherTypeIsAMismatchAndIsNotTouched(t *testing.T) {
	server := redistest.Start(t)
	c := newClient(t, server)
	ask(t, server, "HSET", "n", "field", "theirs")
	ask(t, server, "SET", "s", "theirs")
	before := dump(t, server)
	for name, cl := range map[string]*engine.Claim{
		"a hash, a mutex":        mutex("n"),
		"a hash, a try":          try(mutex("n")),
		"a hash, a semaphore":    newClaim("n", engine.Semaphore, 1, 3),
		"a string, a semaphore":  newClaim("s", engine.Semaphore, 1, 3),
		"a string, a read lock":  newClaim("s", engine.ReadWrite, 1, engine.Unlimited),
		"a string, a membership": newClaim("s", engine.Group, 1, engine.Unlimited),
	} {
		_, err := c.Acquire(storeContext(t), cl, false)
		wantError(t, err, engine.ErrMismatch, "another program")
		if removed, err := c.Release(storeContext(t), cl); removed || err != nil {
			t.Errorf("%s: released %v, %v", name, removed, err)
		}
	}
	if after := dump(t, server); after != before {
		t.Errorf("touched:\n%s\nwas\n%s", after, before)
	}
}

// A value without a TTL is a lock that never ends by itself.
func TestAForeignLockWithoutATTLIsWaitedForAndShown(t *testing.T) {
	server := redistest.Start(t)
	c := newClient(t, server)
	ask(t, server, "SET", "n", "secret-of-theirs")
	_, err := c.Acquire(storeContext(t), try(mutex("n")), false)
	wantError(t, err, engine.ErrHeld)
	line, err := c.e.Line(storeContext(t), "n")
	if err != nil || len(line.Holders) != 1 || !line.Holders[0].Foreign {
		t.Fatalf("line: %+v, %v", line, err)
	}
	if strings.Contains(string(line.Holders[0].ID), "secret") {
		t.Errorf("the foreign holder is shown as %q, whose value is what unlocks it", line.Holders[0].ID)
	}
	next := c.queue(mutex("n"))
	if err := c.e.Remove(storeContext(t), "n", "foreign0000"); err != nil || ask(t, server, "EXISTS", "n") != int64(1) {
		t.Errorf("a wrong id removed a foreign lock, or %v", err)
	}
	if err := c.e.Remove(storeContext(t), "n", line.Holders[0].ID); err != nil {
		t.Fatal(err)
	}
	next.granted()
}

func TestANewerLayoutIsRefusedLoudly(t *testing.T) {
	server := redistest.Start(t)
	c := newClient(t, server)
	ask(t, server, "SET", root("n")+"state", "v2 something new")
	before := dump(t, server)
	_, err := c.Acquire(storeContext(t), mutex("n"), false)
	wantError(t, err, engine.ErrUnusable, "upgrade")
	_, err = c.e.Line(storeContext(t), "n")
	wantError(t, err, engine.ErrUnusable, "upgrade")
	if after := dump(t, server); after != before {
		t.Errorf("touched:\n%s\nwas\n%s", after, before)
	}
}

// A holder of a newer layout is one that this program does not know: it is waited
// for, and not touched.
func TestAHolderOfANewerLayoutExcludes(t *testing.T) {
	server := redistest.Start(t)
	c := newClient(t, server)
	cl := mutex("n")
	ask(t, server, "SET", "n", string(cl.ID)+":lockstep2:m:1:2:3", "PX", "60000")
	_, err := c.Acquire(storeContext(t), try(cl), false)
	wantError(t, err, engine.ErrHeld)
	if r, err := c.Renew(storeContext(t), []*engine.Claim{cl}); err != nil || !slices.Equal(r.Lost, []engine.ClaimID{cl.ID}) {
		t.Errorf("renew: %+v, %v; want the claim lost", r, err)
	}
	if removed, err := c.Release(storeContext(t), cl); removed || err != nil {
		t.Errorf("release: %v, %v", removed, err)
	}
}

func TestScriptsThatTheServerForgotAreSentAgain(t *testing.T) {
	server := redistest.Start(t)
	c := newClient(t, server)
	for range 3 {
		cl := mutex("n")
		c.take(cl)
		ask(t, server, "SCRIPT", "FLUSH")
		if r, err := c.Renew(storeContext(t), []*engine.Claim{cl}); err != nil || len(r.Lost) > 0 {
			t.Errorf("renew: %+v, %v", r, err)
		}
		ask(t, server, "SCRIPT", "FLUSH")
		c.give(cl)
	}
}

// Every key ends by itself (S12): nobody sweeps.
func TestEveryKeyEndsByItself(t *testing.T) {
	server := redistest.Start(t)
	a, b := newClient(t, server), newClient(t, server)
	term := mutex("term")
	term.Term = time.Minute
	for _, cl := range []*engine.Claim{
		mutex("mutex"), newClaim("election", engine.Election, 1, 1), newClaim("semaphore", engine.Semaphore, 2, 3),
		newClaim("rw", engine.ReadWrite, engine.Unlimited, engine.Unlimited), newClaim("group", engine.Group, 1, engine.Unlimited), term,
	} {
		a.take(cl)
	}
	b.queue(mutex("mutex"))
	b.queue(newClaim("semaphore", engine.Semaphore, 2, 3))
	released := mutex("released")
	a.take(released)
	a.give(released)
	for _, key := range keysOf(t, server) {
		if number(t, server, "PTTL", key) < 0 {
			t.Errorf("%s never ends (S12)", key)
		}
	}
	if err := b.e.Close(); err != nil {
		t.Error(err)
	}
}

func TestTenThousandLeasesAreRenewedInBatches(t *testing.T) {
	const n = 10_000
	server := redistest.Start(t)
	c := newClient(t, server)
	sent := &pipelines{Transport: c.e.t}
	c.e.t = sent
	var claims []*engine.Claim
	for i := range n {
		cl := mutex(fmt.Sprintf("n%d", i))
		claims = append(claims, cl)
		c.take(cl)
	}
	if _, err := c.Renew(storeContext(t), claims); err != nil { // the server learns the script
		t.Fatal(err)
	}
	ask(t, server, "DEL", "n77", "n9999")
	before := server.ScriptsRun(t)
	r, err := c.Renew(storeContext(t), claims)
	if err != nil || !slices.Equal(r.Lost, []engine.ClaimID{claims[77].ID, claims[9999].ID}) || len(r.Unsure) > 0 {
		t.Errorf("renew: %d lost, %d unsure, %v; want the two that are gone", len(r.Lost), len(r.Unsure), err)
	}
	if took := server.ScriptsRun(t) - before; took != n/renewBatch {
		t.Errorf("renewing %d leases took %d scripts", n, took)
	}
	if err := c.End(storeContext(t), claims); err != nil {
		t.Fatal(err)
	}
	for _, key := range keysOf(t, server) {
		if !strings.HasSuffix(key, ":state") {
			t.Errorf("%s is left after the session's end", key)
		}
	}
	if sent.longest > endBatch {
		t.Errorf("%d commands in one pipeline: a slow server does not answer them in time", sent.longest)
	}
}

// pipelines keeps how many commands were sent at once at most.
type pipelines struct {
	Transport
	longest int
}

func (p *pipelines) Do(ctx context.Context, commands ...Command) []Result {
	p.longest = max(p.longest, len(commands))
	return p.Transport.Do(ctx, commands...)
}

// Our own waiters leave before our holders: else each release would hand over to
// the next of them, and tokens would be spent on nobody.
func TestAnEndLetsInWhoComesAfterAllOfOurs(t *testing.T) {
	server := redistest.Start(t)
	a, b := newClient(t, server), newClient(t, server)
	held := mutex("n")
	first := a.take(held)
	claims := []*engine.Claim{held}
	for range 5 {
		q := a.queue(mutex("n"))
		claims = append(claims, q.claim)
	}
	next := b.queue(mutex("n"))
	told := listen(t, server, a.e.channel())
	if err := a.End(storeContext(t), claims); err != nil {
		t.Fatal(err)
	}
	g := next.granted()
	if messages := told(); len(messages) > 0 {
		t.Errorf("its own waiters were granted what it gave back: %q", messages)
	}
	if line, err := b.e.Line(storeContext(t), "n"); err != nil || len(line.Waiters) > 0 || g.Token <= first.Token {
		t.Errorf("after the end: %+v, %v", line, err)
	}
}

// listen hears a channel; what it returns ends it, and is what was heard.
func listen(t *testing.T, server *redistest.Server, channel string) (heard func() []string) {
	t.Helper()
	conn, err := server.Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := conn.Do("SUBSCRIBE", channel); err != nil {
		t.Fatal(err)
	}
	return func() (messages []string) {
		t.Helper()
		const end = "the end"
		ask(t, server, "PUBLISH", channel, end)
		for {
			v, err := conn.Receive()
			if err != nil {
				t.Fatal(err)
			}
			message := reply{v}.text(2)
			if message == end {
				return messages
			}
			messages = append(messages, message)
		}
	}
}

// Notes are anybody's bytes, and stand at the end of values and records.
func TestNotesAreKeptAsTheyAre(t *testing.T) {
	server := redistest.Start(t)
	c := newClient(t, server)
	note := "a:b c\n%d\x00\xff :lockstep1: {x}"
	held, waits := mutex("n"), mutex("n")
	held.Note, waits.Note = []byte(note), []byte(note)
	shared := newClaim("s", engine.Semaphore, 1, 2)
	shared.Note = []byte(note)
	c.take(held)
	c.take(shared)
	next := c.queue(waits)
	check := func(name string, holders, waiters int) {
		t.Helper()
		line, err := c.e.Line(storeContext(t), name)
		if err != nil || len(line.Holders) != holders || len(line.Waiters) != waiters {
			t.Fatalf("line of %s: %+v, %v", name, line, err)
		}
		for _, p := range append(line.Holders, line.Waiters...) {
			if string(p.Note) != note || p.Age <= 0 {
				t.Errorf("%s: note %q, age %v", name, p.Note, p.Age)
			}
		}
	}
	check("n", 1, 1)
	check("s", 1, 0)
	c.give(held)
	next.granted()
	check("n", 1, 0)
	note = "another:\n"
	for _, cl := range []*engine.Claim{waits, shared} {
		if err := c.SetNote(storeContext(t), cl, []byte(note)); err != nil {
			t.Fatal(err)
		}
	}
	check("n", 1, 0)
	check("s", 1, 0)
}

func TestAPrefixIsInFrontOfEveryKeyAndOfNoName(t *testing.T) {
	server := redistest.Start(t)
	c := clientOn(t, openOn(t, server, "app:"), time.Minute)
	c.take(mutex("n*[a]"))
	c.take(newClaim("s", engine.Semaphore, 1, 2))
	if _, err := c.e.Store().Commit(storeContext(t), "m", engine.Tx{Put: []engine.Entry{put("k", "v")}}); err != nil {
		t.Fatal(err)
	}
	newClient(t, server).take(mutex("n*[a]")) // another place
	for _, key := range keysOf(t, server) {
		if !strings.Contains(key, "app:") && !strings.Contains(key, "n*[a]") {
			t.Errorf("%s has no prefix", key)
		}
	}
	var names []string
	for name, err := range c.e.Names(storeContext(t), "n*[") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if !slices.Equal(names, []string{"n*[a]"}) {
		t.Errorf("names: %q", names)
	}
	names = nil
	for name, err := range c.e.Names(storeContext(t), "") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if slices.Sort(names); !slices.Equal(names, []string{"n*[a]", "s"}) {
		t.Errorf("all names: %q", names)
	}
}

// Whose subscription is broken is passed by, and keeps its place.
func TestWhoCannotBeToldIsPassedByAndKeepsItsPlace(t *testing.T) {
	server := redistest.Start(t)
	a, deaf, b := newClient(t, server), newClient(t, server), newClient(t, server)
	held := mutex("n")
	a.take(held)
	// It waits without a subscription, as while that is being made again.
	deaf.e.bell.stop()
	ctx, cancel := context.WithCancel(storeContext(t))
	first := mutex("n")
	done := make(chan error, 1)
	go func() {
		_, err := deaf.Acquire(ctx, first, false)
		done <- err
	}()
	await(t, "the deaf one to wait", func() bool {
		return number(t, server, "EXISTS", root("n")+"wait") == 1
	})
	second := b.queue(mutex("n"))
	b.listens()
	a.give(held)
	second.granted()
	line, err := a.e.Line(storeContext(t), "n")
	if err != nil || len(line.Waiters) != 1 || line.Waiters[0].ID != first.ID {
		t.Errorf("the one that nobody could tell lost its place: %+v, %v", line, err)
	}
	b.give(second.claim)
	if _, err := deaf.Renew(storeContext(t), []*engine.Claim{first}); err != nil { // it looks
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("the one that was passed by: %v", err)
	}
	cancel()
}

// lateSubscription is a transport that subscribes when it may.
type lateSubscription struct {
	Transport

	asked, may chan struct{}
}

func (t *lateSubscription) Subscribe(ctx context.Context, channel string, up func(), message func(string)) error {
	offer(t.asked, struct{}{})
	select {
	case <-t.may:
	case <-ctx.Done():
		return ctx.Err()
	}
	return t.Transport.Subscribe(ctx, channel, up, message)
}

// Otherwise the first wait of a client would begin by being passed by (S7).
func TestAClientEntersNoLineBeforeItCanBeTold(t *testing.T) {
	server := redistest.Start(t)
	a := newClient(t, server)
	held := mutex("n")
	a.take(held)
	slow := &lateSubscription{openOn(t, server, "").t, make(chan struct{}, 1), make(chan struct{})}
	e, err := FromTransport(storeContext(t), slow)
	if err != nil {
		t.Fatal(err)
	}
	b := clientOn(t, e, time.Minute)
	first := mutex("n")
	granted := make(chan error, 1)
	go func() {
		_, err := b.Acquire(storeContext(t), first, false)
		granted <- err
	}()
	<-slow.asked
	if line, err := a.e.Line(storeContext(t), "n"); err != nil || len(line.Waiters) > 0 {
		t.Errorf("in line before it listens: %+v, %v", line, err)
	}
	close(slow.may)
	a.inLine("n", first.ID)
	second := a.queue(mutex("n"))
	a.give(held)
	if err := <-granted; err != nil {
		t.Fatal(err)
	}
	b.give(first)
	second.granted()
}

// What told a waiter of its removal may be lost. When it looks, it must not find
// itself at the end of the line, or with a grant: who removed it meant it.
func TestAWaiterThatWasRemovedUnheardEntersNoLineAnew(t *testing.T) {
	server := redistest.Start(t)
	for _, test := range []struct {
		name        string
		held, waits *engine.Claim
	}{
		{"a mutex", mutex("m"), mutex("m")},
		{"a semaphore", newClaim("s", engine.Semaphore, 1, 1), newClaim("s", engine.Semaphore, 1, 1)},
	} {
		for _, free := range []bool{false, true} {
			a, deaf := newClient(t, server), newClient(t, server)
			held, waits := *test.held, *test.waits
			a.take(&held)
			deaf.e.bell.stop()
			removed := deaf.queue(&waits)
			if err := a.e.Remove(storeContext(t), waits.Name, waits.ID); err != nil {
				t.Fatal(err)
			}
			if free {
				a.give(&held)
			}
			deaf.e.room.tellAll(func(n *news) { n.look = true }) // as a subscription that comes up does
			<-removed.done
			wantError(t, removed.err, engine.ErrNotFound, waits.Name)
			line, err := a.e.Line(storeContext(t), waits.Name)
			if err != nil || len(line.Waiters) > 0 || free == (len(line.Holders) > 0) {
				t.Errorf("%s, free %v: the line is %+v, %v", test.name, free, line, err)
			}
			if !free {
				a.give(&held)
			}
		}
	}
}

// A holder that dies tells nobody: the first in line knows when its time is over.
func TestTheFirstInLineIsGrantedWhenTheHoldersTimeIsOver(t *testing.T) {
	server := redistest.Start(t)
	dies := clientOn(t, openOn(t, server, ""), time.Second)
	a, b := newClient(t, server), newClient(t, server)
	g := dies.take(mutex("n"))
	first := a.queue(mutex("n"))
	second := b.queue(mutex("n"))
	first.granted()
	if now := time.Now(); now.Before(g.Until) {
		t.Errorf("granted %v before the holder's time was over", g.Until.Sub(now))
	}
	a.give(first.claim)
	second.granted()
}

// The second in line has a TTL of minutes and learns at its own pace who holds. If
// the first, granted meanwhile for a second only, dies, it must not wait for that.
func TestWhoBecomesFirstBehindAShortGrantIsWarned(t *testing.T) {
	server := redistest.Start(t)
	a, b := newClient(t, server), newClient(t, server)
	short := clientOn(t, openOn(t, server, ""), time.Second)
	held := mutex("n")
	a.take(held)
	dies := short.queue(mutex("n"))
	last := b.queue(mutex("n"))
	b.listens()
	a.give(held)
	dies.granted() // and nobody renews it
	last.granted()
}

// A message may be lost with its connection: whoever subscribes again looks.
func TestASubscriptionThatCameBackHasEverybodyLook(t *testing.T) {
	server := redistest.Start(t)
	a := newClient(t, server)
	proxy := faultnet.New(t, server.Addr, faultnet.RESP)
	o, _, err := clientOption(engine.Target{Scheme: schemeTCP, Hosts: []string{proxy.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	rueidis, err := connect(storeContext(t), o, func() {})
	if err != nil {
		t.Fatal(err)
	}
	e, err := FromTransport(storeContext(t), &rueidisTransport{client: rueidis, owned: true})
	if err != nil {
		t.Fatal(err)
	}
	b := clientOn(t, e, time.Hour) // no renewal, and no end of its time, would help
	held := mutex("n")
	a.take(held)
	b.listens()
	next := b.queue(mutex("n"))
	lost := proxy.DropMessages(faultnet.Contains("g "))
	a.give(held) // the server has told it, it thinks
	<-lost.Hit()
	proxy.Cut()
	next.granted()
}

// A foreign holder tells nobody, so the first in line looks by itself.
func TestAForeignLockThatIsGivenBackIsNoticed(t *testing.T) {
	server := redistest.Start(t)
	c := newClient(t, server)
	ask(t, server, "SET", "n", "theirs")
	c.listens()
	next := c.queue(mutex("n"))
	ask(t, server, "DEL", "n")
	next.granted()
}

func TestANoteThatArrivesLateUndoesNothing(t *testing.T) {
	server := redistest.Start(t)
	c := newClient(t, server)
	cl, shared := mutex("n"), newClaim("s", engine.Semaphore, 1, 2)
	for _, cl := range []*engine.Claim{cl, shared} {
		c.take(cl)
		for _, note := range []string{"first", "second"} {
			if err := c.SetNote(storeContext(t), cl, []byte(note)); err != nil {
				t.Fatal(err)
			}
		}
		// The first once more, late.
		late := call{c.e.scripts.note, lineKeys(cl.Name), []string{string(cl.ID), "1", "first"}}
		if _, err := run(storeContext(t), c.e.t, late); err != nil {
			t.Fatal(err)
		}
		line, err := c.e.Line(storeContext(t), cl.Name)
		if err != nil || len(line.Holders) != 1 || string(line.Holders[0].Note) != "second" {
			t.Errorf("%s: %+v, %v", cl.Name, line, err)
		}
	}
}

// A right that was forgotten, or taken away: somebody must repair that.
func TestARefusalInsideAScriptIsSaidAtOnce(t *testing.T) {
	server := redistest.Start(t)
	c := newClient(t, server)
	warm(c)
	ask(t, server, "ACL", "SETUSER", "default", "-set")
	_, err := c.Acquire(storeContext(t), mutex("n"), false)
	wantError(t, err, engine.ErrUnusable, "may not do what is needed")
}

// Whose time is over is no longer in line, whether or not it is there to hear (S5).
func TestAWaiterWhoseTimeIsOverIsNeverGranted(t *testing.T) {
	server := redistest.Start(t)
	a, dead, b := newClient(t, server), newClient(t, server), newClient(t, server)
	held := mutex("n")
	a.take(held)
	dead.listens()
	over := mutex("n")
	ctx, cancel := context.WithCancel(storeContext(t))
	done := make(chan error, 1)
	go func() {
		_, err := dead.Acquire(ctx, over, false)
		done <- err
	}()
	await(t, "it to wait", func() bool { return number(t, server, "EXISTS", root("n")+"wait") == 1 })
	ask(t, server, "ZADD", root("n")+"live", "1", string(over.ID))
	next := b.queue(mutex("n"))
	a.give(held)
	next.granted()
	cancel()
	if err := <-done; err == nil {
		t.Error("granted, though its time was over")
	}
}

// The short way of a hand-over (lua/release.lua) has its own eye on the last token,
// which a clock that stepped back has not reached.
func TestAHandOverCountsOnFromTheLastToken(t *testing.T) {
	server := redistest.Start(t)
	a, b := newClient(t, server), newClient(t, server)
	held := mutex("n")
	a.take(held)
	next := b.queue(mutex("n"))
	state, _ := ask(t, server, "GET", root("n")+"state").(string)
	fields := strings.Fields(state)
	if len(fields) != 6 {
		t.Fatalf("the state is %q", state)
	}
	ahead := engine.Token(time.Now().Add(time.Hour).UnixMicro())
	fields[1] = strconv.FormatUint(uint64(ahead), 10)
	ask(t, server, "SET", root("n")+"state", strings.Join(fields, " "), "KEEPTTL")
	a.give(held)
	if g := next.granted(); g.Token <= ahead {
		t.Errorf("token %d after %d (S2)", g.Token, ahead)
	}
}

func TestAHandOverIsToldToWhoWatches(t *testing.T) {
	server := redistest.Start(t)
	a, b := newClient(t, server), newClient(t, server)
	held := mutex("n")
	a.take(held)
	next := b.queue(mutex("n")) // and has watched
	ctx, stop := context.WithCancel(storeContext(t))
	up, told, ended := make(chan struct{}, 1), make(chan struct{}, 1), make(chan error, 1)
	go func() {
		ended <- a.e.t.Subscribe(ctx, lineChannel+"n", func() { offer(up, struct{}{}) }, func(string) { offer(told, struct{}{}) })
	}()
	<-up
	a.give(held)
	next.granted()
	select {
	case <-told:
	case <-time.After(30 * time.Second):
		t.Error("nobody was told")
	}
	stop()
	<-ended
}
