package zkengine

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/faultnet"
)

// listing matches the request for a node's children.
func listing(path string) faultnet.Match {
	const getChildren2 = 12
	request := binary.BigEndian.AppendUint32(nil, getChildren2)
	request = append(binary.BigEndian.AppendUint32(request, uint32(len(path))), path...)
	return func(sent []byte) bool { return bytes.Contains(sent, request) }
}

// TestALineIsListedWithoutWaitingForTheAnswerToTheClaim: no answer ever comes.
func TestALineIsListedWithoutWaitingForTheAnswerToTheClaim(t *testing.T) {
	t.Parallel()
	s := server(t)
	p := faultnet.New(t, s.Addr, faultnet.Raw)
	u, other := newUser(t, "zk://"+p.Addr+stay), newUser(t, "zk://"+s.Addr+stay)
	name := newName("listed")
	u.knows(name) // and others come, so that it knows nothing
	u.waitsOut(other, name)

	p.Blackhole()
	listed := p.Count(listing(u.e.paths.of(name)))
	ctx, leave := context.WithCancel(guarded(t))
	left := make(chan error, 1)
	go func() {
		_, err := u.s.Acquire(ctx, newClaim(name, "mutex"), false)
		left <- err
	}()
	wait(t, "the list to be asked for", listed.Hit())
	leave()
	if err := <-left; err == nil || engine.Definite(err) {
		t.Errorf("Acquire: %v, want an unknown outcome", err)
	}
	p.Heal()
}

func TestAListThatWasReadBeforeTheClaimCameIsNotUsed(t *testing.T) {
	t.Parallel()
	mine, other := newClaim("a", "mutex"), newClaim("a", "mutex")
	var names []string
	for i, c := range []*engine.Claim{other, mine} {
		for j, node := range nodesOf(c) {
			names = append(names, fmt.Sprintf("%s%010d", node, 2*i+j))
		}
	}
	p := &place{path: "/a/" + names[2]}
	if line := lineWith(p, names); len(line) != 2 {
		t.Errorf("the line is %v, want both claims", line)
	}
	if line := lineWith(p, names[:2]); line != nil {
		t.Errorf("the line is %v, want none", line)
	}
}
