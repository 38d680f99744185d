package lockstep_test

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine/memengine"
)

// A name is either taken and found again, or refused with a reason.
func FuzzNames(f *testing.F) {
	for _, seed := range []string{"n", "a/b c", "käse", ".own", "a\x00b", "\xff", strings.Repeat("x", 513)} {
		f.Add(seed)
	}
	c, err := lockstep.New(memengine.New())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = c.Close() })
	f.Fuzz(func(t *testing.T, name string) {
		good := name != "" && len(name) <= lockstep.MaxName && name[0] != '.' &&
			utf8.ValidString(name) && strings.IndexFunc(name, unicode.IsControl) < 0
		l, err := c.Mutex(name).TryLock(t.Context())
		if !good {
			if !errors.Is(err, lockstep.ErrInvalid) {
				t.Errorf("%q: error is %v", name, err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		line, err := c.Line(t.Context(), name)
		if err != nil || len(line.Holders) != 1 || line.Name != name {
			t.Errorf("%q: line is %+v, %v", name, line, err)
		}
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
