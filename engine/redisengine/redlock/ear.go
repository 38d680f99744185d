package redlock

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/redisengine/redlock/internal/vote"
)

// ear is this client's channel at one node. Scripts publish on it:
//
//	f id name  the name is free here, and the claim is the first of those who wait
//	h id left  the claim is the first, and the name is taken for left ms (-1: not known)
//	x id       somebody removed the claim by force
//
// It is subscribed with the first that waits, and again whenever the subscription
// breaks. What was published meanwhile nobody heard: so whoever is first at the node
// looks by itself then.
type ear struct {
	e    *Engine
	node int
	ctx  context.Context
	stop context.CancelFunc

	begin sync.Once
	up    atomic.Bool
	done  sync.WaitGroup
}

func newEar(e *Engine, node int) *ear {
	ear := &ear{e: e, node: node}
	ear.ctx, ear.stop = context.WithCancel(context.Background())
	return ear
}

// listenFor is how long a claim waits for subscriptions before it enters its first
// line. One that is told too late looks by itself, later.
const listenFor = time.Second

// listen makes sure that a majority of nodes can tell this client something, or that
// somebody tries to have them.
func (e *Engine) listen(ctx context.Context) {
	if e.listens() {
		return
	}
	for _, ear := range e.ears {
		ear.begin.Do(func() {
			if ear.ctx.Err() == nil {
				ear.done.Go(ear.loop)
			}
		})
	}
	ctx, cancel := context.WithTimeout(ctx, listenFor)
	defer cancel()
	for !e.listens() && ctx.Err() == nil && !e.isOver() {
		pause(ctx, time.Millisecond)
	}
}

// listens says whether a majority of subscriptions is up.
func (e *Engine) listens() bool {
	up := 0
	for _, ear := range e.ears {
		if ear.up.Load() {
			up++
		}
	}
	return up >= vote.Majority(len(e.nodes))
}

func (a *ear) loop() {
	subscribe(a.ctx, a.e.nodes[a.node], clientChannel+a.e.client, func() {
		a.up.Store(true)
		a.e.room.tellAll(func(n *news) { n.mended = n.mended.With(a.node) })
	}, func(err error) {
		a.up.Store(false)
		a.e.opts.log.Debug("lockstep: a subscription broke; it is made again", "node", a.e.nodes[a.node].name, "error", err)
	}, a.heard)
}

// subscribe listens at one node until ctx ends, and begins again when it breaks. The
// pause doubles from 5 ms to a second.
func subscribe(ctx context.Context, n *node, channel string, up func(), down func(error), message func(string)) {
	var failures atomic.Int64 // since it was last up
	for ; ctx.Err() == nil; failures.Add(1) {
		err := n.t.Subscribe(ctx, channel, func() {
			failures.Store(0)
			up()
		}, message)
		if ctx.Err() != nil {
			return
		}
		down(err)
		pause(ctx, min(5*time.Millisecond<<min(failures.Load(), 8), time.Second))
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// heard takes a message. It never blocks.
func (a *ear) heard(payload string) {
	f := strings.SplitN(payload, " ", 3)
	if len(f) < 2 {
		return
	}
	id := engine.ClaimID(f[1])
	switch {
	case f[0] == "f":
		if !a.e.room.tell(id, func(n *news) { n.told = n.told.With(a.node) }) {
			a.e.disown(id, a.node, f)
		}
	case f[0] == "h" && len(f) == 3:
		left, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil {
			return
		}
		at := time.Now()
		a.e.room.tell(id, func(n *news) {
			n.seen[a.node] = sight{known: true, at: at, left: millis(left), forever: left < 0, foreign: n.seen[a.node].foreign}
			n.learned = true
		})
	case f[0] == "x":
		a.e.room.tell(id, func(n *news) { n.removed = n.removed.With(a.node) })
		a.e.removed(id, a.node)
	}
}

// disown takes a claim that nobody here knows out of a line: a request that came too
// late put it there, and whoever is behind it would wait for one that does nothing.
// One whose Acquire is over and whose session still knows it is the core's to release.
func (e *Engine) disown(id engine.ClaimID, node int, f []string) {
	if len(f) < 3 {
		return
	}
	for _, s := range e.living() {
		if s.known(id) != nil {
			return
		}
	}
	newest := strconv.FormatInt(attempts.Load(), 10)
	e.tidy(vote.Set(0).With(node), e.nodeTimeout(e.opts.maxTTL), "",
		one(call{theScripts.release, nameKeys(f[2]), []string{string(id), newest, giveBack}}))
}

func (a *ear) close() {
	a.stop()
	a.begin.Do(func() {}) // nobody begins any more
	a.done.Wait()
}
