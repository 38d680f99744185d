package redisengine

import (
	"fmt"
	"strings"

	"github.com/lockstep-go/lockstep/engine"
)

// infix is in every key of ours but a lock's own, and in no name.
const infix = ":lockstep:"

// Channels. A client has one, by which it is told of grants; lines and maps have
// theirs only while somebody watches. A map's has the number of its database in it:
// its messages are what was committed, those of lines only have somebody look.
const (
	clientChannel = "lockstep:client:"
	lineChannel   = "lockstep:line:"
	mapChannel    = "lockstep:map:"
)

// root is what the sibling keys of a name begin with: all of them, and the name
// itself, are in one slot of a cluster.
func root(name string) string {
	if hasTag(name) {
		return name + infix
	}
	return "{" + name + "}" + infix
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

// The keys of a lock's name, in the order that scripts expect (lua/line.lua).
func lineKeys(name string) []string {
	// Cut out of one string: each key would be an allocation of its own.
	r := root(name)
	all := r + "state" + r + "claims" + r + "wait" + r + "live"
	state, claims, wait := len(r)+len("state"), len(r)+len("claims"), len(r)+len("wait")
	return []string{name, all[:state], all[state:][:claims], all[state+claims:][:wait], all[state+claims+wait:]}
}

// removedKey says of a claim that it was removed by force.
func removedKey(name string, id engine.ClaimID) string { return root(name) + "removed:" + string(id) }

// lineOfKey is the name that a sibling key belongs to.
func lineOfKey(key, suffix string) (name string, ok bool) {
	r, ok := strings.CutSuffix(key, infix+suffix)
	if !ok {
		return "", false
	}
	if strings.HasPrefix(r, "{") && strings.HasSuffix(r, "}") {
		if inner := r[1 : len(r)-1]; root(inner) == r+infix {
			return inner, true
		}
	}
	return r, root(r) == r+infix
}

// CheckName refuses what would put a name and its siblings into different slots,
// what could be a sibling's name, and what would share siblings with another: those
// of {x} are those of x.
func (e *Engine) CheckName(name string) (string, error) {
	key := e.key(name)
	switch {
	case strings.Contains(key, infix):
		return "", fmt.Errorf("%w: name %q: %q is reserved", engine.ErrInvalid, name, infix)
	case strings.ContainsAny(name, "{}") && !oneTag(name):
		return "", fmt.Errorf("%w: name %q: braces are Redis' hash tags, and these are not one proper tag like {this}", engine.ErrInvalid, name)
	case strings.HasPrefix(key, "{") && strings.HasSuffix(key, "}"):
		return "", fmt.Errorf("%w: name %q: a hash tag needs something beside it, as in {user7}/cart", engine.ErrInvalid, name)
	}
	return name, nil
}

// oneTag says whether the braces of a name are one pair around something.
func oneTag(name string) bool {
	return strings.Count(name, "{") == 1 && strings.Count(name, "}") == 1 && hasTag(name)
}
