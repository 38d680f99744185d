package redisengine

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/faultnet"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// number is an integer that the server answered.
func number(t testing.TB, server *redistest.Server, command ...string) int64 {
	t.Helper()
	n, ok := ask(t, server, command...).(int64)
	if !ok {
		t.Fatalf("%v: no number", command)
	}
	return n
}

// keysOf are the keys of the server, sorted.
func keysOf(t testing.TB, server *redistest.Server) []string {
	t.Helper()
	var keys []string
	all, _ := ask(t, server, "KEYS", "*").([]any)
	for _, k := range all {
		keys = append(keys, k.(string))
	}
	slices.Sort(keys)
	return keys
}

// dump is all that is in the server, to be compared.
func dump(t testing.TB, server *redistest.Server) string {
	t.Helper()
	var b strings.Builder
	for _, k := range keysOf(t, server) {
		fmt.Fprintf(&b, "%s %x %v\n", k, ask(t, server, "DUMP", k), number(t, server, "PTTL", k) >= 0)
	}
	return b.String()
}

func wantError(t testing.TB, err, want error, words ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

func TestACommitWhoseReplyWasLostIsDoneOnce(t *testing.T) {
	server := redistest.Start(t)
	proxy := faultnet.New(t, server.Addr, faultnet.RESP)
	s, other := newStoreAt(t, proxy.Addr, retention), newStoreOn(t, server)
	mustCommit(t, s, "m", put("k", "0")) // the script is known from now on
	for _, lose := range []func(faultnet.Match) *faultnet.Rule{proxy.ResetAtReply, proxy.Replay} {
		tx := engine.Tx{ID: rand.Text(), Put: []engine.Entry{put("k", "mine")}}
		rule := lose(faultnet.Contains(tx.ID))
		first, err := s.Commit(storeContext(t), "m", tx)
		rule.Remove()
		if rule.Hits() != 1 || err != nil && engine.Definite(err) {
			t.Fatalf("%d hits; a commit whose reply was lost says %v", rule.Hits(), err)
		}
		later := mustCommit(t, other, "m", put("k", "theirs"))
		again, err := s.Commit(storeContext(t), "m", tx)
		if err != nil || again >= later || first != 0 && first != again {
			t.Errorf("first %d, repeated %d, %v; in between was %d", first, again, err, later)
		}
		wantShown(t, mustList(t, other, "m"), "full k=theirs")
	}
	if n := number(t, server, "XLEN", mapKeys("m")[1]); n != 4 {
		t.Errorf("%d commits are logged, 4 were made after the first", n)
	}
}

func TestCommitsAreRememberedForAnHour(t *testing.T) {
	server := redistest.Start(t)
	s := newStoreOn(t, server)
	for _, changes := range [][]engine.Entry{{put("k", "v")}, {del("never there")}} {
		tx := engine.Tx{ID: rand.Text(), Put: changes}
		if _, err := s.Commit(storeContext(t), "m", tx); err != nil {
			t.Fatal(err)
		}
		left := time.Duration(number(t, server, "PTTL", root("m")+"tx:"+tx.ID)) * time.Millisecond
		if left <= 59*time.Minute || left > time.Hour {
			t.Errorf("commit %s is remembered for %v", shown(engine.Event{Entries: changes}), left)
		}
	}
}

// A number as Lua writes it has 14 digits, which is one revision for 100 µs.
func TestRevisionsAreExact(t *testing.T) {
	server := redistest.Start(t)
	s := newStoreOn(t, server)
	before := time.Now()
	r := mustCommit(t, s, "m", put("k", "v"))
	if at := time.UnixMicro(int64(r)); at.Before(before.Truncate(time.Microsecond)) || at.After(time.Now()) {
		t.Errorf("revision %d is the time %v, it was %v", r, at, before)
	}
	for range 20 { // some of them within 100 µs
		next := mustCommit(t, s, "m", put("k", "v"))
		if e, err := s.Get(storeContext(t), "m", "k"); err != nil || e.Revision != next || next <= r {
			t.Fatalf("after %d: committed %d, got %d, %v", r, next, e.Revision, err)
		}
		r = next
	}
}

// The server's clock may step back while its data stays.
func TestRevisionsRiseThoughTheClockDoesNot(t *testing.T) {
	server := redistest.Start(t)
	s := newStoreOn(t, server)
	ahead := engine.Revision(time.Now().Add(time.Hour).UnixMicro())
	ask(t, server, "HSET", mapKeys("m")[0], "k", formatRevision(ahead)+" v")
	ask(t, server, "SET", mapKeys("m")[2], "v1 "+formatRevision(ahead)+" 1 18 0 0 0")
	for want := ahead + 1; want < ahead+4; want++ {
		if r := mustCommit(t, s, "m", put("k", "v")); r != want {
			t.Errorf("revision %d, want %d", r, want)
		}
	}
}

func TestALongValueIsSharedByAll(t *testing.T) {
	server := redistest.Start(t)
	s := newStoreOn(t, server)
	mustCommit(t, s, "m", put("0", ""))
	v := watchStore(t, s, 0)
	v.want("full 0=")
	want := map[string]string{}
	for i := range 24 {
		key, value := fmt.Sprint(i%20), strings.Repeat(string(rune('a'+i)), maxValue)
		r := mustCommit(t, s, "m", put(key, value))
		if ev := v.next(); ev.Full || ev.Revision != r || string(ev.Entries[0].Value) != value {
			t.Fatalf("commit %d is shown as %s at %d", r, shown(ev), ev.Revision)
		}
		want[key] = value
	}
	got := mustList(t, s, "m").Entries
	for _, e := range got {
		if string(e.Value) != want[e.Key] {
			t.Errorf("key %s has %.3s… of %d bytes", e.Key, e.Value, len(e.Value))
		}
	}
	if len(got) != 20 {
		t.Errorf("%d entries", len(got))
	}
	if n := number(t, server, "MEMORY", "USAGE", mapKeys("m")[1], "SAMPLES", "0"); n > 10<<20 {
		t.Errorf("the log takes %d bytes", n)
	}
}

func TestACommitMayHaveManyEntries(t *testing.T) {
	server := redistest.Start(t)
	s := newStoreOn(t, server)
	mustCommit(t, s, "m", put("0", ""))
	v := watchStore(t, s, 0)
	v.want("full 0=")
	const entries = 9000 // more than a Lua call has arguments
	for _, deleted := range []bool{false, true} {
		var tx engine.Tx
		for i := range entries {
			tx.Put = append(tx.Put, engine.Entry{Key: fmt.Sprint(i), Value: []byte{byte(i), ' '}, Deleted: deleted})
		}
		r, err := s.Commit(storeContext(t), "m", tx)
		if err != nil {
			t.Fatal(err)
		}
		ev := v.next()
		if ev.Full || ev.Revision != r || len(ev.Entries) != entries {
			t.Fatalf("shown: full %v, %d entries at %d, committed %d", ev.Full, len(ev.Entries), ev.Revision, r)
		}
		for i, e := range ev.Entries {
			if e.Key != fmt.Sprint(i) || e.Deleted != deleted || !deleted && (len(e.Value) != 2 || e.Value[0] != byte(i)) {
				t.Fatalf("entry %d is shown as %+v", i, e)
			}
		}
		want := entries
		if deleted {
			want = 0
		}
		if n := len(mustList(t, s, "m").Entries); n != want {
			t.Errorf("%d entries are listed, want %d", n, want)
		}
	}
}

func TestACommitIsRefusedIfItIsTooLong(t *testing.T) {
	server := redistest.Start(t)
	s := newStoreOn(t, server)
	var tx engine.Tx
	for i := range maxTx/maxValue + 1 {
		tx.Put = append(tx.Put, engine.Entry{Key: fmt.Sprint(i), Value: make([]byte, maxValue)})
	}
	_, err := s.Commit(storeContext(t), "m", tx)
	wantError(t, err, engine.ErrInvalid, strconv.Itoa(maxTx))
	tx.Put = tx.Put[:maxTx/maxValue-1]
	v := watchStore(t, s, 0)
	v.want("full")
	r, err := s.Commit(storeContext(t), "m", tx)
	if err != nil {
		t.Fatal(err)
	}
	// It is longer than the log, so watchers are shown the whole map.
	if ev := v.next(); ev.Revision != r || len(ev.Entries) != len(tx.Put) {
		t.Errorf("shown %d entries at %d, want %d at %d", len(ev.Entries), ev.Revision, len(tx.Put), r)
	}
	next := mustCommit(t, s, "m", put("0", "short"))
	if ev := v.want("0=short"); ev.Revision != next {
		t.Errorf("shown at %d, committed at %d", ev.Revision, next)
	}
}

// S12: a map that is empty leaves nothing.
func TestAnEmptyMapLeavesNothing(t *testing.T) {
	server := redistest.Start(t)
	s := newStoreAt(t, server.Addr, 20*time.Millisecond)
	for i := range 50 {
		m := fmt.Sprint("m", i)
		for _, change := range []engine.Entry{put("k", "v"), del("k"), del("k")} {
			if _, err := s.Commit(storeContext(t), m, engine.Tx{ID: rand.Text(), Put: []engine.Entry{change}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	mustList(t, s, "never used")
	await(t, "every key to be gone", func() bool { return number(t, server, "DBSIZE") == 0 })
	mustCommit(t, s, "m0", put("k", "again"))
	wantShown(t, mustList(t, s, "m0"), "full k=again")
}

func TestAMapThatIsUsedAgainStays(t *testing.T) {
	server := redistest.Start(t)
	s := newStoreOn(t, server)
	for _, change := range []engine.Entry{put("k", "v"), del("k"), put("k", "again")} {
		mustCommit(t, s, "m", change)
		if ttl := number(t, server, "PTTL", mapKeys("m")[2]); (ttl > 0) != change.Deleted {
			t.Errorf("after %s: the record has a TTL of %d ms", shown(engine.Event{Entries: []engine.Entry{change}}), ttl)
		}
	}
	if keys := keysOf(t, server); !slices.Equal(keys, []string{"{m}:lockstep:log", "{m}:lockstep:map", "{m}:lockstep:rev"}) {
		t.Errorf("keys %q", keys)
	}
}

// A stream takes 4 KB at least: most maps are seldom changed.
func TestAMapThatNobodyChangesHasNoLog(t *testing.T) {
	server := redistest.Start(t)
	s := newStoreAt(t, server.Addr, 20*time.Millisecond)
	r := mustCommit(t, s, "m", put("k", "v"))
	if keys := keysOf(t, server); !slices.Equal(keys, []string{"{m}:lockstep:map", "{m}:lockstep:rev"}) {
		t.Errorf("keys after one commit: %q", keys)
	}
	mustCommit(t, s, "m", put("k", "w"))
	await(t, "the log to be gone", func() bool { return number(t, server, "DBSIZE") == 2 })
	v := watchStore(t, s, r)
	v.want("full k=w")
	mustCommit(t, s, "m", put("k", "x"))
	v.want("k=x")
}

// fill makes the server refuse what could need memory.
func fill(t testing.TB, server *redistest.Server) { ask(t, server, "CONFIG", "SET", "maxmemory", "1") }

func TestAFullServerRefusesACommitWhole(t *testing.T) {
	server := redistest.Start(t)
	s := newStoreOn(t, server)
	v := watchStore(t, s, 0)
	v.want("full")
	mustCommit(t, s, "m", put("a", "1"), put("b", "1"))
	v.want("a=1 b=1")
	fill(t, server)
	for name, m := range map[string]string{"used": "m", "new": "n"} {
		before := dump(t, server)
		tx := engine.Tx{ID: rand.Text(), Put: []engine.Entry{del("a"), put("b", "2")}}
		_, err := s.Commit(storeContext(t), m, tx)
		wantError(t, err, engine.ErrUnusable, "maxmemory")
		if dump(t, server) != before {
			t.Errorf("%s: a commit that was refused changed something", name)
		}
	}
	wantShown(t, mustList(t, s, "m"), "full a=1 b=1")
	ask(t, server, "CONFIG", "SET", "maxmemory", "0")
	mustCommit(t, s, "m", put("b", "3"))
	v.want("b=3")
}

func TestAFullServerTakesDeletions(t *testing.T) {
	server := redistest.Start(t)
	s := newStoreOn(t, server)
	v := watchStore(t, s, 0)
	v.want("full")
	mustCommit(t, s, "m", put("a", "1"), put("b", "1"))
	v.want("a=1 b=1")
	fill(t, server)
	for _, text := range []string{"-a", "", "-b"} {
		tx := engine.Tx{ID: rand.Text(), Put: []engine.Entry{del("never there")}}
		if text != "" {
			tx.Put = append(tx.Put, del(text[1:]))
		}
		r, err := s.Commit(storeContext(t), "m", tx)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if again, err := s.Commit(storeContext(t), "m", tx); err != nil || again != r {
			t.Errorf("%q: answered %d, and again %d, %v", text, r, again, err)
		}
		if text != "" {
			v.want(text)
		}
	}
}

func TestAKeyOfAnotherTypeIsLeftAlone(t *testing.T) {
	server := redistest.Start(t)
	s := newStoreOn(t, server)
	id := rand.Text()
	for i, key := range append(mapKeys("m"), root("m")+"tx:"+id) {
		ask(t, server, "FLUSHALL")
		if i != 2 { // with a map that is in use, and, for the record, without
			mustCommit(t, s, "m", put("a", "1"))
		}
		ask(t, server, "DEL", key)
		ask(t, server, "SADD", key, "theirs")
		before := dump(t, server)
		_, err := s.Commit(storeContext(t), "m", engine.Tx{ID: id, Put: []engine.Entry{put("a", "2"), del("b")}})
		wantError(t, err, engine.ErrUnusable, "another program")
		if dump(t, server) != before {
			t.Errorf("with another type at %s a commit changed something", key)
		}
	}
	ask(t, server, "FLUSHALL")
	ask(t, server, "SADD", mapKeys("m")[0], "theirs")
	_, err := s.Get(storeContext(t), "m", "k")
	wantError(t, err, engine.ErrUnusable)
	_, err = s.List(storeContext(t), "m")
	wantError(t, err, engine.ErrUnusable)
	wantError(t, watchStore(t, s, 0).end(), engine.ErrUnusable)
}

// S13: a newer layout is refused by all that could misread it.
func TestANewerLayoutIsRefused(t *testing.T) {
	server := redistest.Start(t)
	s := newStoreOn(t, server)
	r := mustCommit(t, s, "m", put("k", "v"))
	v := watchStore(t, s, r)
	mustCommit(t, s, "m", put("k", "w"))
	v.want("k=w")
	ask(t, server, "SET", mapKeys("m")[2], "v2 something else")
	ask(t, server, "HSET", mapKeys("m")[0], "k", "(2) something else")
	before := dump(t, server)
	ask(t, server, "PUBLISH", s.channel("m"), "v2 something else")
	wantError(t, v.end(), engine.ErrUnusable, "upgrade")
	_, err := s.Commit(storeContext(t), "m", engine.Tx{ID: rand.Text(), Put: []engine.Entry{put("k", "x")}})
	wantError(t, err, engine.ErrUnusable, "upgrade")
	_, err = s.List(storeContext(t), "m")
	wantError(t, err, engine.ErrUnusable, "upgrade")
	_, err = s.Get(storeContext(t), "m", "k")
	wantError(t, err, engine.ErrUnusable)
	if dump(t, server) != before {
		t.Error("a map of a newer layout was changed")
	}
}

// A user may be without the permission for channels: a commit must not fail when
// it has changed the map.
func TestACommitIsDoneThoughNobodyMayBeTold(t *testing.T) {
	server := redistest.Start(t)
	ask(t, server, "ACL", "SETUSER", "mute", "on", ">password", "~*", "+@all", "resetchannels")
	s := newStore(transportTo(t, server, "mute", "password"), retention, make(chan struct{}))
	r, err := s.Commit(storeContext(t), "m", engine.Tx{Put: []engine.Entry{put("k", "v")}})
	if err != nil {
		t.Fatalf("commit: %v", err)
	}
	if e, err := s.Get(storeContext(t), "m", "k"); err != nil || e.Revision != r {
		t.Errorf("got %+v, %v, committed at %d", e, err, r)
	}
	for _, err = range s.Watch(storeContext(t), "m", 0) {
	}
	wantError(t, err, engine.ErrUnusable, "permission")
}

func TestTheLogIsBounded(t *testing.T) {
	server := redistest.Start(t)
	s := newStoreOn(t, server)
	var revisions []engine.Revision
	length := func() int64 { return number(t, server, "XLEN", mapKeys("m")[1]) }
	for i := range 2500 {
		revisions = append(revisions, mustCommit(t, s, "m", put(fmt.Sprint(i%7), fmt.Sprint(i))))
	}
	if n := length(); n < 1024 || n > 2048 {
		t.Errorf("the log has %d commits", n)
	}
	if ev := watchStore(t, s, revisions[0]).next(); !ev.Full {
		t.Errorf("after the first commit: shown %s", shown(ev))
	}
	v := watchStore(t, s, revisions[len(revisions)-1024])
	for _, r := range revisions[len(revisions)-1023:] {
		if ev := v.next(); ev.Full || ev.Revision != r {
			t.Fatalf("shown %s at %d, want %d", shown(ev), ev.Revision, r)
		}
	}
}

func TestAMapIsListedAtOneRevision(t *testing.T) {
	server := redistest.Start(t)
	s, writer := newStoreOn(t, server), newStoreOn(t, server)
	const keys = 3000 // too many to be read at once
	var tx engine.Tx
	for i := range keys {
		tx.Put = append(tx.Put, put(fmt.Sprint("k", i), "start"))
	}
	if _, err := writer.Commit(storeContext(t), "m", tx); err != nil {
		t.Fatal(err)
	}
	history := newModel(tx)
	var writing sync.WaitGroup
	stop := make(chan struct{})
	writing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			tx := engine.Tx{Put: []engine.Entry{put(fmt.Sprint("k", i%keys), fmt.Sprint(i)), put(fmt.Sprint("k", keys-1-i%keys), fmt.Sprint(i))}}
			switch i % 3 {
			case 1:
				tx.Put[0] = del(tx.Put[0].Key)
			case 2:
				tx.Put[1].Key = fmt.Sprint("new", i)
			}
			if tx.Put[0].Key == tx.Put[1].Key {
				continue
			}
			history.before(tx)
			r, err := writer.Commit(storeContext(t), "m", tx)
			if err != nil {
				t.Errorf("commit: %v", err)
				return
			}
			history.committed(r)
		}
	})
	var lists []engine.Event
	for range 12 {
		lists = append(lists, mustList(t, s, "m"))
	}
	close(stop)
	writing.Wait()
	raced := 0
	for _, ev := range lists {
		if history.check(t, ev) > 0 {
			raced++
		}
	}
	t.Logf("%d commits, %d lists that had some before them", len(history.txs), raced)
}

// model knows what a map must be at each revision.
type model struct {
	txs       []engine.Tx
	revisions []engine.Revision // the first has 0: before all lists
}

func newModel(first engine.Tx) *model { return &model{[]engine.Tx{first}, []engine.Revision{0}} }

func (m *model) before(tx engine.Tx)         { m.txs = append(m.txs, tx) }
func (m *model) committed(r engine.Revision) { m.revisions = append(m.revisions, r) }

// check compares a list with the commits up to its revision, and says how many
// these were.
func (m *model) check(t testing.TB, ev engine.Event) int {
	t.Helper()
	want, n := map[string]string{}, 0
	for i, r := range m.revisions {
		if r > ev.Revision {
			break
		}
		n = i
		for _, e := range m.txs[i].Put {
			if want[e.Key] = string(e.Value); e.Deleted {
				delete(want, e.Key)
			}
		}
	}
	for _, e := range ev.Entries {
		if v, ok := want[e.Key]; !ok || v != string(e.Value) || e.Revision > ev.Revision {
			t.Fatalf("list at %d: key %s is %q at %d, want %q (%v)", ev.Revision, e.Key, e.Value, e.Revision, v, ok)
		}
	}
	if len(ev.Entries) != len(want) {
		t.Fatalf("list at %d: %d entries, want %d", ev.Revision, len(ev.Entries), len(want))
	}
	return n
}

func TestTheKeyPrefixIsInFrontOfMaps(t *testing.T) {
	server := redistest.Start(t)
	s := newStoreOn(t, server)
	p := prefixed{s, "app:"}
	r, err := p.Commit(storeContext(t), "m", engine.Tx{ID: "id", Put: []engine.Entry{put("k", "v")}})
	if err != nil {
		t.Fatal(err)
	}
	wantShown(t, mustList(t, s, "app:m"), "full k=v")
	if ev, err := p.List(storeContext(t), "m"); err != nil || shown(ev) != "full k=v" {
		t.Errorf("listed %s, %v", shown(ev), err)
	}
	if e, err := p.Get(storeContext(t), "m", "k"); err != nil || e.Revision != r {
		t.Errorf("got %+v, %v", e, err)
	}
	for ev, err := range p.Watch(storeContext(t), "m", 0) {
		if err != nil || shown(ev) != "full k=v" {
			t.Errorf("shown %s, %v", shown(ev), err)
		}
		break
	}
	for _, key := range keysOf(t, server) {
		if !strings.HasPrefix(key, "{app:m}") {
			t.Errorf("key %q", key)
		}
	}
}
