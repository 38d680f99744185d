// Package keys says which names of locks and maps can be keys of Redis, and what
// the keys beside them are called. The engine of one Redis and Redlock share it.
package keys

import (
	"fmt"
	"strings"

	"github.com/lockstep-go/lockstep/engine"
)

// Infix is in every key of ours but a lock's own, and in no name.
const Infix = ":lockstep:"

// Root is what the sibling keys of a name begin with: all of them, and the name
// itself, are in one slot of a cluster.
func Root(name string) string {
	before, after := Around(name)
	return before + name + after
}

// Around is what stands before and after a name in its root.
func Around(name string) (before, after string) {
	if hasTag(name) {
		return "", Infix
	}
	return "{", "}" + Infix
}

// Of is the name that a sibling key belongs to; suffix is what comes after its
// root.
func Of(key, suffix string) (name string, ok bool) {
	r, ok := strings.CutSuffix(key, Infix+suffix)
	if !ok {
		return "", false
	}
	if strings.HasPrefix(r, "{") && strings.HasSuffix(r, "}") {
		if inner := r[1 : len(r)-1]; Root(inner) == r+Infix {
			return inner, true
		}
	}
	return r, Root(r) == r+Infix
}

// hasTag says whether the name chooses its slot by a hash tag of its own.
func hasTag(name string) bool {
	_, rest, found := strings.Cut(name, "{")
	if !found {
		return false
	}
	tag, _, closed := strings.Cut(rest, "}")
	return closed && tag != ""
}

// Check refuses what would put a name and its siblings into different slots, what
// could be a sibling's name, and what would share siblings with another: those of
// {x} are those of x.
func Check(prefix, name string) error {
	key := prefix + name
	switch {
	case strings.Contains(key, Infix):
		return fmt.Errorf("%w: name %q: %q is reserved", engine.ErrInvalid, name, Infix)
	case strings.ContainsAny(name, "{}") && !oneTag(name):
		return fmt.Errorf("%w: name %q: braces are Redis' hash tags, and these are not one proper tag like {this}", engine.ErrInvalid, name)
	case strings.HasPrefix(key, "{") && strings.HasSuffix(key, "}"):
		return fmt.Errorf("%w: name %q: a hash tag needs something beside it, as in {user7}/cart", engine.ErrInvalid, name)
	}
	return nil
}

// oneTag says whether the braces of a name are one pair around something.
func oneTag(name string) bool {
	return strings.Count(name, "{") == 1 && strings.Count(name, "}") == 1 && hasTag(name)
}

// CheckPrefix refuses what names must not have either, and any tag.
func CheckPrefix(prefix string) error {
	if strings.ContainsAny(prefix, "{}") || strings.Contains(prefix, Infix) {
		return fmt.Errorf("%w: prefix %q: it has no braces, and no %q", engine.ErrInvalid, prefix, Infix)
	}
	return nil
}
