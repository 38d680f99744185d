package redisengine

import (
	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/redisengine/internal/keys"
)

// Channels. A client has one, by which it is told of grants; lines and maps have
// theirs only while somebody watches. A map's has the number of its database in it:
// its messages are what was committed, those of lines only have somebody look.
const (
	clientChannel = "lockstep:client:"
	lineChannel   = "lockstep:line:"
	mapChannel    = "lockstep:map:"
)

// root is what the sibling keys of a name begin with.
func root(name string) string { return keys.Root(name) }

// The keys of a lock's name, in the order that scripts expect (lua/line.lua).
func lineKeys(name string) []string {
	// Cut out of one string: each key would be an allocation of its own.
	before, after := keys.Around(name)
	all := before + name + after + "state" + before + name + after + "claims" + before + name + after + "wait" + before + name + after + "live"
	r := len(before) + len(name) + len(after)
	state, claims, wait := r+len("state"), r+len("claims"), r+len("wait")
	return []string{name, all[:state], all[state:][:claims], all[state+claims:][:wait], all[state+claims+wait:]}
}

// removedKey says of a claim that it was removed by force.
func removedKey(name string, id engine.ClaimID) string { return root(name) + "removed:" + string(id) }

// CheckName refuses what cannot be a name here: braces that are not one hash tag, and
// what could be a sibling's key.
func (e *Engine) CheckName(name string) (string, error) {
	if err := keys.Check(e.prefix, name); err != nil {
		return "", err
	}
	return name, nil
}
