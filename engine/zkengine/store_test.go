package zkengine

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/faultnet"
	"github.com/lockstep-go/lockstep/internal/zktest"
)

func (u *user) put(m, key, value string) engine.Revision {
	u.Helper()
	r, err := u.e.store.Commit(guarded(u.T), m, engine.Tx{Put: []engine.Entry{{Key: key, Value: []byte(value)}}})
	if err != nil {
		u.Fatalf("Commit: %v", err)
	}
	return r
}

func (u *user) keys(m string) string {
	u.Helper()
	ev, err := u.e.store.List(guarded(u.T), m)
	if err != nil {
		u.Fatalf("List: %v", err)
	}
	text := ""
	for _, e := range ev.Entries {
		text += fmt.Sprintf("%q=%q ", e.Key, e.Value)
	}
	return text
}

func TestValuesAreChildrenThatOthersRead(t *testing.T) {
	t.Parallel()
	u := newUser(t, "zk://"+server(t).Addr)
	m := newName("values")
	u.put(m, "limit", "10")
	u.put(m, "a/b", "x")
	u.put(m, "", "own")
	for path, want := range map[string]string{"/limit": "10", "/a%2Fb": "x", "": "own"} {
		if data, _, err := u.e.conn.zk.Get("/" + m + path); err != nil || string(data) != want {
			t.Errorf("%s holds %q, %v; want %q", path, data, err, want)
		}
	}
	if _, err := u.e.conn.zk.Create("/"+m+"/theirs", []byte("1"), 0, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatal(err)
	}
	if got := u.keys(m); got != `""="own" "a/b"="x" "limit"="10" "theirs"="1" ` {
		t.Errorf("the map is %s", got)
	}
}

func TestClaimsAndWhatIsBelowAreNoEntries(t *testing.T) {
	t.Parallel()
	u := newUser(t, "zk://"+server(t).Addr)
	m := newName("hidden")
	u.put(m, "k", "")
	for _, name := range []string{m, m + "/k", m + "/lock"} {
		c := newClaim(name, "mutex")
		wait(t, "a lock in a map's tree", u.begin(c))
		defer u.release(c)
	}
	u.put(m+"/nested", "x", "1")
	if got := u.keys(m); got != `"k"="" ` {
		t.Errorf("the map is %s, want its one entry", got)
	}
}

// TestAValueInAContainerStays: ZooKeeper removes a container with its data when its
// last child has gone.
func TestAValueInAContainerStays(t *testing.T) {
	t.Parallel()
	s := zktest.Start(t, zktest.Options{JVM: []string{"-Dznode.container.checkIntervalMs=100"}})
	u := newUser(t, "zk://"+s.Addr)
	c, bare := newClaim("value", "mutex"), newClaim("bare", "mutex")
	wait(t, "a lock", u.begin(c))
	wait(t, "a lock", u.begin(bare))
	u.put("value", "", "kept")
	u.release(c)
	u.release(bare)
	eventually(t, "an unused name is removed (S12)", func() bool {
		stat, err := u.e.conn.exists("/bare")
		return err == nil && stat == nil
	})
	if got := u.keys("value"); got != `""="kept" ` {
		t.Errorf("the map is %s", got)
	}
	if _, err := u.e.store.Commit(guarded(t), "value", engine.Tx{Put: []engine.Entry{{Deleted: true}}}); err != nil {
		t.Fatal(err)
	}
	if stat, err := u.e.conn.exists("/value"); err != nil || stat != nil {
		t.Errorf("a deleted value leaves %+v, %v", stat, err)
	}
}

func TestARevisionOfAKeyThatWasMadeAgainIsNotTheOldOne(t *testing.T) {
	t.Parallel()
	u := newUser(t, "zk://"+server(t).Addr)
	m := newName("aba")
	old := u.put(m, "k", "1")
	if err := u.e.conn.delete("/" + m + "/k"); err != nil { // as zkCli would
		t.Fatal(err)
	}
	if _, err := u.e.conn.zk.Create("/"+m+"/k", []byte("2"), 0, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatal(err)
	}
	_, err := u.e.store.Commit(guarded(t), m, engine.Tx{If: []engine.Cond{{Key: "k", Revision: old}}, Put: []engine.Entry{{Key: "k"}}})
	if !errors.Is(err, engine.ErrConflict) {
		t.Errorf("a condition on the revision before: %v, want ErrConflict", err)
	}
}

func TestACommitWhoseReplyWasLostIsDoneOnce(t *testing.T) {
	t.Parallel()
	s := server(t)
	p := faultnet.New(t, s.Addr, faultnet.Raw)
	u := newUser(t, "zk://"+s.Addr)
	mine := openURL(t, "zk://"+p.Addr)
	defer mine.Close()
	m := newName("once")
	u.put(m, "k", "before")
	tx := engine.Tx{ID: "once", Put: []engine.Entry{{Key: "k", Value: []byte("mine")}}}
	if _, err := mine.store.Get(guarded(t), m, "k"); err != nil {
		t.Fatal(err)
	}
	// Its first look asks for the mark, and the transaction makes it.
	hold := p.Hold(faultnet.Nth(2, faultnet.Contains("/tx-")))
	lost := make(chan error, 1)
	go func() {
		_, err := mine.store.Commit(t.Context(), m, tx)
		lost <- err
	}()
	wait(t, "the transaction", hold.Hit())
	p.DropReplies()
	hold.Release()
	for u.keys(m) != `"k"="mine" ` {
		if t.Context().Err() != nil {
			t.Fatal("the transaction never arrived")
		}
	}
	p.Heal()
	if err := <-lost; err == nil || engine.Definite(err) {
		t.Fatalf("a commit whose reply was lost: %v, want an unknown outcome", err)
	}
	done, err := u.e.store.Get(guarded(t), m, "k")
	if err != nil {
		t.Fatal(err)
	}
	u.put(m, "k", "later")
	if r, err := mine.store.Commit(guarded(t), m, tx); err != nil || r != done.Revision {
		t.Errorf("repeated: %d, %v; want what was answered, %d", r, err, done.Revision)
	}
	if got := u.keys(m); got != `"k"="later" ` {
		t.Errorf("the map is %s: a repeat was done again", got)
	}
}

func TestAListIsNoOlderThanACommitThatChangedNothing(t *testing.T) {
	t.Parallel()
	u := newUser(t, "zk://"+server(t).Addr)
	m := newName("nothing")
	u.put(m, "k", "v")
	r, err := u.e.store.Commit(guarded(t), m, engine.Tx{ID: "marked", Put: []engine.Entry{{Key: "none", Deleted: true}}})
	if err != nil {
		t.Fatal(err)
	}
	if ev, err := u.e.store.List(guarded(t), m); err != nil || ev.Revision < r {
		t.Errorf("the list is of revision %d, %v; want %d or later", ev.Revision, err, r)
	}
}

func TestMarksOfCommitsAreForgottenAndTheLogGoes(t *testing.T) {
	t.Parallel()
	s := zktest.Start(t, zktest.Options{JVM: []string{"-Dznode.container.checkIntervalMs=100"}})
	u := newUser(t, "zk://"+s.Addr)
	for i := range 5 {
		tx := engine.Tx{ID: fmt.Sprint(i), Put: []engine.Entry{{Key: "k", Value: []byte("v")}}}
		if _, err := u.e.store.Commit(guarded(t), "m", tx); err != nil {
			t.Fatal(err)
		}
	}
	u.e.store.sweep(guarded(t), time.Hour)
	if all, err := u.e.conn.children(u.e.store.log("m")); err != nil || len(all.names) != 5 {
		t.Errorf("marks of this hour: %v, %v", all.names, err)
	}
	u.e.store.sweep(guarded(t), 0)
	eventually(t, "the log of a map that nobody writes to is removed", func() bool {
		stat, err := u.e.conn.exists(u.e.store.log("m"))
		return err == nil && stat == nil
	})
	if got := u.keys("m"); got != `"k"="v" ` {
		t.Errorf("the map is %s", got)
	}
	u.put("m", "k", "again")
}

func TestAMapThatIsFullRefusesAnotherKey(t *testing.T) {
	t.Parallel()
	u := newUser(t, "zk://"+server(t).Addr)
	m := newName("full")
	u.put(m, "first", "1")
	c := &commit{s: u.e.store, m: m, log: u.e.store.log(m), tx: engine.Tx{Put: []engine.Entry{{Key: "one more"}}}}
	look, err := c.look()
	if err != nil {
		t.Fatal(err)
	}
	look.nodes[""].stat.NumChildren = maxKeys
	if _, _, err := c.operations(look); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("a key beyond the most: %v, want ErrInvalid", err)
	}
}

// TestASemaphoresLineGoesOnWhereCapacityIsLeft: whoever is granted tells the next in
// line, who stands first then and watches the holders.
func TestASemaphoresLineGoesOnWhereCapacityIsLeft(t *testing.T) {
	t.Parallel()
	u := newUser(t, "zk://"+server(t).Addr)
	name := newName("slots")
	slots := func(n int) *engine.Claim {
		c := newClaim(name, "mutex")
		c.Kind, c.Shares, c.Limit = engine.Semaphore, n, 2
		return c
	}
	both := slots(2)
	wait(t, "both slots", u.begin(both))
	var waiting []*engine.Claim
	var granted []<-chan struct{}
	for i := range 4 {
		waiting = append(waiting, slots(1))
		granted = append(granted, u.begin(waiting[i]))
		u.inLine(name, 1, i+1)
	}
	u.release(both)
	wait(t, "the first slot", granted[0])
	wait(t, "the second slot", granted[1]) // nothing left but capacity
	u.inLine(name, 2, 2)
	u.release(waiting[1]) // not the first of the holders
	wait(t, "the third, in the place of the second", granted[2])
	u.release(waiting[0])
	wait(t, "the last", granted[3])
	u.release(waiting[2])
	u.release(waiting[3])
}

func TestWaitersCostNothingAndAHandOverTheReleaseAlone(t *testing.T) {
	t.Parallel()
	s := zktest.Start(t, zktest.Options{})
	const n = 40
	u := &user{T: t, e: openURL(t, "zk://"+s.Addr+longTimeout)}
	defer u.e.Close()
	var sessions []*Session
	for range 5 {
		sessions = append(sessions, begin(t, u.e, 30*time.Minute))
	}
	defer func() {
		for _, session := range sessions {
			if err := session.End(guarded(t), nil); err != nil {
				t.Error(err)
			}
		}
	}()
	claims := make([]*engine.Claim, n+1)
	var done sync.WaitGroup
	name := newName("crowd")
	held := make([]chan struct{}, n+1)
	for i := range claims {
		claims[i], held[i] = newClaim(name, "mutex"), make(chan struct{})
		session := sessions[i%len(sessions)]
		done.Go(func() {
			if _, err := session.Acquire(t.Context(), claims[i], false); err != nil {
				t.Errorf("Acquire: %v", err)
			}
			close(held[i])
		})
		u.inLine(name, 1, i)
	}
	<-held[0]
	for i := range claims[1:] {
		session := sessions[(i+1)%len(sessions)]
		(&user{t, u.e, session}).waits(claims[i+1])
	}
	before := s.Packets()
	<-time.After(time.Second) // in which nobody has anything to say
	if asked := s.Packets() - before; asked > 0 {
		t.Errorf("waiters asked %d times while they only waited (S8)", asked)
	}
	before = s.Packets()
	for i := range claims {
		wait(t, "the next in line", held[i])
		if _, err := sessions[i%len(sessions)].Release(guarded(t), claims[i]); err != nil {
			t.Fatal(err)
		}
	}
	if asked := s.Packets() - before; asked != len(claims) {
		t.Errorf("%d hand-overs took %d requests, want the releases alone", n, asked)
	}
	done.Wait()
}
