package enginetest

import (
	"slices"
	"strconv"
)

var namesChecks = []check{
	{rule: "Names yields each name in use once", run: namesInUse},
	{rule: "Names takes its prefix literally", run: namesPrefix},
	{rule: "Names pages through many", run: namesMany},
	{rule: "Names may be left at any time", run: namesLeft},
}

func (c *client) names(prefix string) []string {
	c.Helper()
	var out []string
	for name, err := range c.engine.Names(c.ctx, prefix) {
		if err != nil {
			c.Fatalf("Names: %v", c.cause(err))
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func namesInUse(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	base := a.name()
	if got := b.names(base); len(got) > 0 {
		t.Errorf("Names of an unused prefix: %v", got)
	}
	a.acquire(mutex(base + "-held"))
	a.acquire(mutex(base + "-awaited"))
	b.enqueue(mutex(base + "-awaited"))
	gone := mutex(base + "-gone")
	a.acquire(gone)
	a.release(gone)
	want := []string{base + "-awaited", base + "-held"}
	if got := b.names(base); !slices.Equal(got, want) {
		t.Errorf("Names: %v, want %v", got, want)
	}
	if got := b.names(base + "-held"); !slices.Equal(got, want[1:]) {
		t.Errorf("Names with a whole name as prefix: %v", got)
	}
}

// namesPrefix has prefixes that mean something else in patterns of SQL, globs
// and regular expressions.
func namesPrefix(t TB, s *suite) {
	a := s.client(t)
	base := a.name()
	for _, c := range []string{"%", "_", "*", "?", "[a]", ".", `\`, "A", "ä"} {
		prefix, err := a.engine.CheckName(base + c)
		if err != nil {
			t.Logf("this engine takes no %q in a name: %v", c, err)
			continue
		}
		cl, decoy := mutex(prefix), mutex(base+"a"+c)
		a.acquire(cl)
		a.acquire(decoy)
		if got := a.names(prefix); !slices.Equal(got, []string{prefix}) {
			t.Errorf("Names(%q): %q", prefix, got)
		}
		a.release(cl)
		a.release(decoy)
	}
}

func namesMany(t TB, s *suite) {
	a := s.client(t)
	base := a.name()
	var want []string
	for i := range 150 {
		name := base + "-" + strconv.Itoa(i)
		a.acquire(mutex(name))
		want = append(want, name)
	}
	slices.Sort(want)
	if got := a.names(base); !slices.Equal(got, want) {
		t.Errorf("Names yields %d names, want %d, each once", len(got), len(want))
	}
}

func namesLeft(t TB, s *suite) {
	a := s.client(t)
	base := a.name()
	for _, suffix := range []string{"-1", "-2", "-3"} {
		a.acquire(mutex(base + suffix))
	}
	for name, err := range a.engine.Names(a.ctx, base) {
		if err != nil {
			t.Fatalf("Names: %v", err)
		}
		a.line(name) // a call from within must not hang
		break
	}
}
