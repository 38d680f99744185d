package redisengine

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	mrand "math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/faultnet"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// lossy is a transport that loses messages, and shows requests before they are
// sent.
type lossy struct {
	Transport
	lose   atomic.Bool
	before func(Command)
}

func (l *lossy) Do(ctx context.Context, commands ...Command) []Result {
	if l.before != nil {
		for _, c := range commands {
			l.before(c)
		}
	}
	return l.Transport.Do(ctx, commands...)
}

func (l *lossy) Subscribe(ctx context.Context, channel string, up func(), message func(string)) error {
	return l.Transport.Subscribe(ctx, channel, up, func(m string) {
		if !l.lose.Load() {
			message(m)
		}
	})
}

func makeLossy(s *store) *lossy {
	l := &lossy{Transport: s.t}
	s.t = l
	return l
}

func TestAPushedCommitIsShownWithoutAsking(t *testing.T) {
	server := redistest.Start(t)
	s := newStoreOn(t, server)
	v := watchStore(t, newStoreOn(t, server), 0)
	v.want("full")
	ask(t, server, "CONFIG", "RESETSTAT")
	for i := range 20 {
		mustCommit(t, s, "m", put("k", fmt.Sprint(i)))
		v.want(fmt.Sprint("k=", i))
	}
	if scripts, _ := commandStat(t, server, "evalsha"); scripts != 20 {
		t.Errorf("%d scripts ran for 20 commits", scripts)
	}
	if reads, _ := commandStat(t, server, "xrange"); reads != 0 {
		t.Errorf("the log was read %d times", reads)
	}
}

func TestALostMessageIsNoticedByTheNext(t *testing.T) {
	server := redistest.Start(t)
	writer, s := newStoreOn(t, server), newStoreOn(t, server)
	network := makeLossy(s)
	mustCommit(t, writer, "m", put("k", "0"))
	v := watchStore(t, s, 0)
	v.want("full k=0")
	network.lose.Store(true)
	mustCommit(t, writer, "m", put("lost", "1"), put("gone", "1"))
	mustCommit(t, writer, "m", del("gone"))
	allHeard(t, writer, network)
	network.lose.Store(false)
	mustCommit(t, writer, "m", put("told", "1"))
	v.want("lost=1 gone=1")
	v.want("-gone")
	v.want("told=1")
}

// allHeard returns when everything that was published before has arrived: a probe
// on a channel of its own, which is on the same connection, came after it.
func allHeard(t *testing.T, from *store, network *lossy) {
	t.Helper()
	ctx, cancel := context.WithCancel(storeContext(t))
	defer cancel()
	channel, arrived := rand.Text(), make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = network.Transport.Subscribe(ctx, channel, func() {
			go from.t.Do(ctx, Command{Args: []string{"PUBLISH", channel, ""}})
		}, func(string) { close(arrived) })
	}()
	select {
	case <-arrived:
	case <-ctx.Done():
		t.Fatal("a probe did not arrive")
	}
	cancel()
	<-done
}

func TestALostMessageWithoutASuccessorIsNoticedBySilence(t *testing.T) {
	server := redistest.Start(t)
	writer, s := newStoreOn(t, server), newStoreOn(t, server)
	network := makeLossy(s)
	mustCommit(t, writer, "m", put("k", "0"))
	v := watchStore(t, s, 0)
	v.want("full k=0")
	network.lose.Store(true)
	mustCommit(t, writer, "m", put("k", "lost"))
	v.want("k=lost") // within engine.Stale/3
}

func TestAnUnknownMessageHasTheLogRead(t *testing.T) {
	server := redistest.Start(t)
	writer, s := newStoreOn(t, server), newStoreOn(t, server)
	network := makeLossy(s)
	mustCommit(t, writer, "m", put("k", "0"))
	v := watchStore(t, s, 0)
	v.want("full k=0")
	network.lose.Store(true)
	mustCommit(t, writer, "m", put("k", "v"))
	allHeard(t, writer, network)
	network.lose.Store(false)
	for _, text := range []string{"", "v1", "v1 0", "v1 0 x", "v2 0 1 ", "v1 0 1 =9 9 x", "hello"} {
		ask(t, server, "PUBLISH", s.channel("m"), text)
	}
	v.want("k=v")
	mustCommit(t, writer, "m", put("k", "w"))
	v.want("k=w")
}

func TestAWatchSurvivesTheEndOfItsConnection(t *testing.T) {
	server := redistest.Start(t)
	writer := newStoreOn(t, server)
	f := followMap(t, newStoreOn(t, server))
	f.until(map[string]string{})
	for i := range 20 {
		mustCommit(t, writer, "m", put("k", fmt.Sprint(i)))
		ask(t, server, "CLIENT", "KILL", "TYPE", "pubsub")
		mustCommit(t, writer, "m", put("l", fmt.Sprint(i)), del("k"))
		f.until(map[string]string{"l": fmt.Sprint(i)})
	}
	if f.full.Load() != 1 {
		t.Errorf("the whole map was shown %d times: its log was there", f.full.Load())
	}
}

// A map's first commit is not in the log: who missed it is shown the whole map.
func TestTheFirstCommitIsShownToWhoMissedIt(t *testing.T) {
	server := redistest.Start(t)
	writer, s := newStoreOn(t, server), newStoreOn(t, server)
	network := makeLossy(s)
	v := watchStore(t, s, 0)
	v.want("full")
	network.lose.Store(true)
	mustCommit(t, writer, "m", put("k", "1"))
	allHeard(t, writer, network)
	network.lose.Store(false)
	mustCommit(t, writer, "m", put("l", "2"))
	v.want("full k=1 l=2")
}

func TestAWatchOfLostDataEndsInTheTruth(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, server *redistest.Server){
		"flushed":   func(t *testing.T, server *redistest.Server) { ask(t, server, "FLUSHALL") },
		"restarted": func(_ *testing.T, server *redistest.Server) { server.Restart() },
		"killed":    func(_ *testing.T, server *redistest.Server) { server.Kill(); server.Restart() },
		"entries gone": func(t *testing.T, server *redistest.Server) {
			ask(t, server, "DEL", mapKeys("m")[0])
		},
		"record gone, and entries": func(t *testing.T, server *redistest.Server) {
			ask(t, server, "DEL", mapKeys("m")[0], mapKeys("m")[2])
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			writer := newStoreOn(t, server)
			f := followMap(t, newStoreOn(t, server))
			for i := range 3 {
				mustCommit(t, writer, "m", put("a", fmt.Sprint(i)), put("b", fmt.Sprint(i)))
				f.until(map[string]string{"a": fmt.Sprint(i), "b": fmt.Sprint(i)})
				lose(t, server)
				if i == 0 { // nobody writes after it: silence tells
					f.until(map[string]string{})
				}
				commitAgain(t, writer, put("c", fmt.Sprint(i)))
				f.until(map[string]string{"c": fmt.Sprint(i)})
				commitAgain(t, writer, del("c"))
				f.until(map[string]string{})
			}
		})
	}
}

// commitAgain repeats a commit to "m" until its outcome is known, as the core does.
func commitAgain(t testing.TB, s *store, changes ...engine.Entry) {
	t.Helper()
	ctx, tx := storeContext(t), engine.Tx{ID: rand.Text(), Put: changes}
	for {
		_, err := s.Commit(ctx, "m", tx)
		if err == nil {
			return
		}
		if ctx.Err() != nil || engine.Definite(err) {
			t.Errorf("commit: %v", err)
			return
		}
	}
}

// What was restored from a backup, or taken over by a replica that was behind,
// has revisions of its own beyond where it was: they lead on from another commit.
func TestAnotherHistoryIsAGap(t *testing.T) {
	server := redistest.Start(t)
	s := newStoreOn(t, server)
	mustCommit(t, s, "m", put("k", "0"))
	v := watchStore(t, s, 0)
	v.want("full k=0")
	mustCommit(t, s, "m", put("k", "1"))
	v.want("k=1")
	backup := map[string]any{}
	for _, key := range mapKeys("m") {
		backup[key] = ask(t, server, "DUMP", key)
	}
	lost := mustCommit(t, s, "m", put("k", "lost"), put("lost", "1"))
	v.want("k=lost lost=1")
	for key, data := range backup {
		ask(t, server, "RESTORE", key, "0", data.(string), "REPLACE")
	}
	late := newStoreOn(t, server)
	if ev := watchStore(t, late, lost).next(); shown(ev) != "full k=1" {
		t.Errorf("a watch from a lost revision begins with %s", shown(ev))
	}
	mustCommit(t, s, "m", put("new", "1"))
	v.want("full k=1 new=1")
	if ev := watchStore(t, late, lost).next(); shown(ev) != "full k=1 new=1" {
		t.Errorf("a watch from a lost revision begins with %s", shown(ev))
	}
}

func TestATrimmedLogIsAGapWithItsDeletions(t *testing.T) {
	server := redistest.Start(t)
	writer, s := newStoreOn(t, server), newStoreOn(t, server)
	network := makeLossy(s)
	mustCommit(t, writer, "m", put("stays", "1"), put("goes", "1"))
	v := watchStore(t, s, 0)
	v.want("full goes=1 stays=1")
	network.lose.Store(true)
	mustCommit(t, writer, "m", del("goes"))
	ask(t, server, "XTRIM", mapKeys("m")[1], "MAXLEN", "0")
	allHeard(t, writer, network)
	network.lose.Store(false)
	mustCommit(t, writer, "m", put("next", "1"))
	v.want("full next=1 stays=1")
	mustCommit(t, writer, "m", put("next", "2"))
	v.want("next=2")
}

func TestASlowTakerMissesNothing(t *testing.T) {
	server := redistest.Start(t)
	s := newStoreOn(t, server)
	v := watchStore(t, newStoreOn(t, server), 0)
	v.want("full")
	var revisions []engine.Revision
	for i := range 3*inboxMessages + 10 { // more than an inbox holds, less than the log
		revisions = append(revisions, mustCommit(t, s, "m", put("k", fmt.Sprint(i))))
	}
	for i, r := range revisions {
		if ev := v.want(fmt.Sprint("k=", i)); ev.Revision != r {
			t.Fatalf("commit %d is shown at %d", r, ev.Revision)
		}
	}
}

func TestAnInboxNeverBlocksAndSaysWhatItMissed(t *testing.T) {
	b := newInbox()
	for i := range inboxMessages {
		b.put(fmt.Sprint(i))
	}
	if messages, gap := b.take(); len(messages) != inboxMessages || gap {
		t.Errorf("took %d messages, gap %v", len(messages), gap)
	}
	for _, n := range []int{1, inboxBytes - 1, 2} {
		b.put(strings.Repeat("x", n))
	}
	if messages, gap := b.take(); len(messages) != 1 || len(messages[0]) != 2 || !gap {
		t.Errorf("took %d messages, gap %v", len(messages), gap)
	}
	for range 2*inboxMessages + 1 {
		b.put("x")
	}
	if messages, gap := b.take(); len(messages) != 1 || !gap {
		t.Errorf("took %d messages, gap %v", len(messages), gap)
	}
	if messages, gap := b.take(); len(messages) != 0 || gap {
		t.Errorf("took %d messages from an empty inbox, gap %v", len(messages), gap)
	}
}

// A log that is trimmed faster than a map is listed does not lead to the list.
func TestAListThatCannotBeCompletedIsReadAtOnce(t *testing.T) {
	server := redistest.Start(t)
	writer, s := newStoreOn(t, server), newStoreOn(t, server)
	var tx engine.Tx
	for i := range 3000 {
		tx.Put = append(tx.Put, put(fmt.Sprint("k", i), "v"))
	}
	if _, err := writer.Commit(storeContext(t), "m", tx); err != nil {
		t.Fatal(err)
	}
	pages, n := 0, 0
	makeLossy(s).before = func(c Command) {
		if c.Args[0] == "HSCAN" {
			pages++
			n++
			mustCommit(t, writer, "m", put("new", fmt.Sprint(n)), del(fmt.Sprint("k", n)))
			ask(t, server, "XTRIM", mapKeys("m")[1], "MAXLEN", "0")
		}
	}
	ev := mustList(t, s, "m")
	want := mustList(t, writer, "m")
	if shown(ev) != shown(want) || ev.Revision != want.Revision || pages < 2*listTries {
		t.Errorf("%d pages; listed %d entries at %d, want %d at %d", pages, len(ev.Entries), ev.Revision, len(want.Entries), want.Revision)
	}
}

// S9 while connections are cut: no revision twice or backwards, and the last
// state arrives.
func TestCutConnectionsLoseNothing(t *testing.T) {
	server := redistest.Start(t)
	writing, watching := faultnet.New(t, server.Addr, faultnet.RESP), faultnet.New(t, server.Addr, faultnet.RESP)
	writer := newStoreAt(t, writing.Addr, retention)
	f := followMap(t, newStoreAt(t, watching.Addr, retention))
	want := map[string]string{}
	var cutting sync.WaitGroup
	stop := make(chan struct{})
	cutting.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-f.news: // so that there is progress between two cuts
				writing.Cut()
			}
		}
	})
	for i := range 60 {
		if i%4 == 0 {
			watching.Cut()
		}
		key := fmt.Sprint(i % 5)
		if i%4 == 3 {
			delete(want, key)
			commitAgain(t, writer, del(key))
			continue
		}
		want[key] = strings.Repeat(string(rune('a'+i%26)), mrand.IntN(maxValue>>(i%3*8)))
		commitAgain(t, writer, put(key, want[key]))
	}
	close(stop)
	cutting.Wait()
	f.until(want)
}

// follower is a watch as the core has one: it goes on after interruptions from
// where it was.
type follower struct {
	t    testing.TB
	full atomic.Int32
	news chan struct{} // holds one: something was shown

	mu    sync.Mutex
	known map[string]string
}

func followMap(t testing.TB, s *store) *follower {
	t.Helper()
	f := &follower{t: t, news: make(chan struct{}, 1), known: map[string]string{"nothing": "was shown"}}
	ctx, cancel := context.WithCancel(storeContext(t))
	done := make(chan struct{})
	go func() {
		defer close(done)
		last := engine.Revision(0)
		for ctx.Err() == nil {
			for ev, err := range s.Watch(ctx, "m", last) {
				if err != nil {
					break
				}
				f.take(ev, last)
				last = ev.Revision
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return f
}

func (f *follower) take(ev engine.Event, last engine.Revision) {
	switch {
	case ev.Full:
		f.full.Add(1)
	case len(ev.Entries) == 0:
		if ev.Revision != last {
			f.t.Errorf("still current at %d, last was %d", ev.Revision, last)
		}
	case ev.Revision <= last:
		f.t.Errorf("revision %d after %d", ev.Revision, last)
	}
	f.mu.Lock()
	if ev.Full {
		clear(f.known)
	}
	for _, e := range ev.Entries {
		if f.known[e.Key] = string(e.Value); e.Deleted {
			delete(f.known, e.Key)
		}
	}
	f.mu.Unlock()
	offer(f.news, struct{}{})
}

// until waits until the follower knows a map.
func (f *follower) until(want map[string]string) {
	f.t.Helper()
	ctx := storeContext(f.t)
	for {
		f.mu.Lock()
		is := maps.Clone(f.known)
		f.mu.Unlock()
		if maps.Equal(is, want) {
			return
		}
		select {
		case <-f.news:
		case <-ctx.Done():
			f.t.Fatalf("the watch ends with %d entries %.300v, want %d %.300v", len(is), is, len(want), want)
		}
	}
}

// Channels are all databases': what is committed in another one is not shown.
func TestAWatchShowsNothingOfAnotherDatabase(t *testing.T) {
	server := redistest.Start(t)
	here := newStoreOn(t, server)
	v := watchStore(t, here, 0)
	v.want("full")
	target := engine.Target{Scheme: schemeTCP, Hosts: []string{server.Addr}, Path: "/1"}
	e, err := Driver.Open(storeContext(t), target)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for range 3 {
		if _, err := e.Store().Commit(storeContext(t), "m", engine.Tx{Put: []engine.Entry{put("theirs", "x")}}); err != nil {
			t.Fatal(err)
		}
	}
	mustCommit(t, here, "m", put("ours", "x"))
	v.want("ours=x")
}
