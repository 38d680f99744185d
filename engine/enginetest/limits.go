package enginetest

import (
	"errors"
	"strconv"
	"strings"

	"github.com/lockstep-go/lockstep/engine"
)

var limitChecks = []check{
	{rule: "CheckName gives one name for one place", run: canonicalNames},
	{rule: "any name that CheckName takes is a lock of its own", run: anyLockName},
	{rule: "any name that CheckName takes is a map of its own", needs: needStore, run: anyMapName},
	{rule: "any key within the limits is taken", needs: needStore, run: anyKey},
	{rule: "a value of MaxValue is taken and a longer one refused", needs: needStore, run: longestValue},
	{rule: "a commit of more than MaxOps is refused whole", needs: needStore | needMaxOps, run: tooManyOps},
	{rule: "a commit's ID may be 64 bytes", needs: needStore, run: longestID},
	{rule: "Info never changes", run: infoIsConstant},
}

// oddNames are within the common limits and hard on some service.
func oddNames(base string) []string {
	long := base + "-" + strings.Repeat("x", 512)
	return []string{
		long[:512], base + " space", base + "/slash/es", base + "'quote", base + `"double`, base + `\back`,
		base + "%25", base + "+plus", base + "#hash", base + "?x=y", base + ":colon", base + "Ä", base + "ä", base + "日本語",
		base + "-A", base + "-a", base + ";", base + "--", base + "*", base + "$", base + "~", base + "|",
		base + "/" + strings.Repeat("ü", 100), // long in bytes once escaped
	}
}

// taken is those of some names that this engine takes, canonical.
func (c *client) taken(names []string) []string {
	c.Helper()
	var out []string
	for _, n := range names {
		canonical, err := c.engine.CheckName(n)
		switch {
		case err == nil:
			out = append(out, canonical)
		case errors.Is(err, engine.ErrInvalid) && err.Error() != engine.ErrInvalid.Error():
			c.Logf("not taken by this engine: %v", err)
		default:
			c.Errorf("CheckName(%q): %v, want ErrInvalid that says which rule was broken", n, err)
		}
	}
	return out
}

func canonicalNames(t TB, s *suite) {
	a := s.client(t)
	base := a.name()
	seen := make(map[string]bool)
	for _, n := range a.taken(append(oddNames(base), base)) {
		again, err := a.engine.CheckName(n)
		if err != nil || again != n {
			t.Errorf("CheckName of the canonical %q: %q, %v", n, again, err)
		}
		if seen[n] {
			t.Errorf("%q is canonical for two names that differ", n)
		}
		seen[n] = true
	}
	if !seen[base] {
		t.Errorf("%q is not taken", base)
	}
}

func anyLockName(t TB, s *suite) {
	a := s.client(t)
	names := a.taken(oddNames(a.name()))
	for _, n := range names { // all held at once: each is a lock of its own
		a.acquire(try(mutex(n)))
	}
	for _, n := range names {
		if l := a.line(n); len(l.Holders) != 1 || l.Name != n {
			t.Errorf("%q: named %q, %s", n, l.Name, showLine(l))
		}
	}
}

func anyMapName(t TB, s *suite) {
	a := s.client(t)
	names := a.taken(oddNames(a.name()))
	for _, n := range names {
		a.commit(n, put("k", n))
	}
	for _, n := range names {
		if ev := a.list(n); len(ev.Entries) != 1 || string(ev.Entries[0].Value) != n {
			t.Errorf("map %q: %s", n, contents(ev.Entries))
		}
	}
}

func anyKey(t TB, s *suite) {
	a := s.client(t)
	m := a.name()
	want := replica{}
	for _, k := range append(oddNames("k"), "") {
		if len(k) > 512 {
			continue
		}
		_, err := a.engine.Store().Commit(a.ctx, m, engine.Tx{Put: []engine.Entry{put(k, k)}})
		switch {
		case err == nil:
			want[k] = k
		case errors.Is(err, engine.ErrInvalid):
			t.Logf("not taken by this engine: %v", err)
		default:
			t.Errorf("key %q: %v", k, a.cause(err))
		}
	}
	got := replica{}
	got.apply(a.list(m))
	for k, v := range want {
		if got[k] != v {
			t.Errorf("key %q has %q", k, got[k])
		}
	}
	if len(got) != len(want) || len(want) < 5 {
		t.Errorf("%d keys were taken, %d are listed", len(want), len(got))
	}
}

func longestValue(t TB, s *suite) {
	a := s.client(t)
	m := a.name()
	longest := engine.Entry{Key: "k", Value: make([]byte, s.info.MaxValue)}
	longest.Value[s.info.MaxValue-1] = 1
	a.commit(m, longest)
	if e := a.get(m, "k"); len(e.Value) != s.info.MaxValue || e.Value[s.info.MaxValue-1] != 1 {
		t.Errorf("a value of %d bytes came back with %d", s.info.MaxValue, len(e.Value))
	}
	_, err := a.engine.Store().Commit(a.ctx, m, engine.Tx{Put: []engine.Entry{{Key: "k", Value: make([]byte, s.info.MaxValue+1)}}})
	is(t, "a longer value", err, engine.ErrInvalid)
	if e := a.get(m, "k"); len(e.Value) != s.info.MaxValue {
		t.Errorf("a refused value was written")
	}
}

func tooManyOps(t TB, s *suite) {
	a := s.client(t)
	m := a.name()
	var changes []engine.Entry
	for i := range s.info.MaxOps {
		changes = append(changes, put(strconv.Itoa(i), ""))
	}
	a.commit(m, changes...)
	_, err := a.engine.Store().Commit(a.ctx, m, engine.Tx{Put: append(changes, put("one more", ""))})
	is(t, "a longer commit", err, engine.ErrInvalid)
	if n := len(a.list(m).Entries); n != s.info.MaxOps {
		t.Errorf("%d entries, want %d", n, s.info.MaxOps)
	}
}

func longestID(t TB, s *suite) {
	a := s.client(t)
	m := a.name()
	id := strings.Repeat("i", 63)
	one := a.commitTx(m, engine.Tx{ID: id + "1", Put: []engine.Entry{put("k", "1")}})
	two := a.commitTx(m, engine.Tx{ID: id + "2", Put: []engine.Entry{put("k", "2")}})
	if again := a.commitTx(m, engine.Tx{ID: id + "1", Put: []engine.Entry{put("k", "1")}}); again != one || one == two {
		t.Errorf("IDs of 64 bytes were answered %d, %d and, repeated, %d", one, two, again)
	}
	a.wantList(m, `"k"="2"`)
}

func infoIsConstant(t TB, s *suite) {
	a := s.client(t)
	i := a.engine.Info()
	if i.Engine != s.info.Engine || i.FIFO != s.info.FIFO || i.Store != s.info.Store ||
		i.MaxValue != s.info.MaxValue || i.TokenOrder != s.info.TokenOrder {
		t.Errorf("one handle says %+v, another %+v", i, s.info)
	}
}
