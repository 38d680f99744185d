package redisengine

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/redisengine/internal/keys"
)

func TestNamesThatWouldSplitTheirSiblingsAreRefused(t *testing.T) {
	e := &Engine{}
	for _, name := range []string{"a", "invoices/42", "a:b", "{tag}/x", "x{tag}y", "ключ", "lockstep:x"} {
		if got, err := e.CheckName(name); err != nil || got != name {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"a}b", "a{b", "x{}y", "{}", "{tag}", "{a}{b}", "{{a}}", "}a{", "a:lockstep:b", ":lockstep:"} {
		if _, err := e.CheckName(name); !errors.Is(err, engine.ErrInvalid) {
			t.Errorf("%q: %v, want ErrInvalid", name, err)
		}
	}
}

func TestAPrefixIsPartOfWhatIsChecked(t *testing.T) {
	e := &Engine{prefix: "p:lockstep"}
	if _, err := e.CheckName(":x"); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("a name that makes a sibling's key with its prefix: %v, want ErrInvalid", err)
	}
}

func FuzzKeysOfANameAreInItsSlot(f *testing.F) {
	for _, name := range []string{"a", "x{tag}y", "{tag}x", "a:b/c"} {
		f.Add(name)
	}
	e := &Engine{}
	f.Fuzz(func(t *testing.T, name string) {
		if _, err := e.CheckName(name); err != nil || name == "" {
			return
		}
		for _, key := range slices.Concat(lineKeys(name), mapKeys(name)) {
			if slotTag(key) != slotTag(name) {
				t.Errorf("key %q is in slot of %q, its name in that of %q", key, slotTag(key), slotTag(name))
			}
		}
		for i, suffix := range []string{"state", "claims", "wait", "live"} {
			key := lineKeys(name)[i+1]
			if back, ok := keys.Of(key, suffix); !ok || back != name {
				t.Errorf("%q is a key of %q, and was read as one of %q, %v", key, name, back, ok)
			}
		}
	})
}

// slotTag is the part of a key that a cluster hashes, from its specification.
func slotTag(key string) string {
	_, rest, found := strings.Cut(key, "{")
	if !found {
		return key
	}
	tag, _, closed := strings.Cut(rest, "}")
	if !closed || tag == "" {
		return key
	}
	return tag
}
