package redlock

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep/engine/redisengine"
)

// A node that restarted may have forgotten votes that still count. It must not vote
// again before the longest TTL has passed. To look at its uptime and then ask for its
// vote would be a race; so votes are asked for by EVALSHA only, which a server that
// restarted answers with NOSCRIPT (from version 7 on no script survives a restart),
// and scripts are loaded only where the server itself has found, in the same
// transaction, that it has run for long enough (lua/guard.lua).
//
// And a node that does not answer must not cost more than its share: after a
// failure it is asked by one request at a time, and nobody waits for it, as long as
// the others are a majority.

// node is one server.
type node struct {
	name  string // for people
	t     redisengine.Transport
	up    int64  // s that it must have run
	guard string // the guard's key

	lanes lanes

	mu       sync.Mutex
	loading  chan struct{} // not nil: the scripts are being loaded; closed after it
	outUntil time.Time     // it restarted: no use in asking before
	out      string        // why
	pending  int           // requests on their way
	suspect  bool          // the last that came back had failed
	next     time.Time     // when the next may be sent
	failed   error         // what the last failure was
}

// probeEvery is how often a suspect is asked, at most.
const probeEvery = 50 * time.Millisecond

// keptOutError: the node restarted, and does not vote yet.
type keptOutError struct {
	node, why string
	left      time.Duration
}

func (e *keptOutError) Error() string {
	return fmt.Sprintf("node %s %s; it takes part again in %v", e.node, e.why, e.left.Round(time.Second))
}

// suspectError: nobody asks, or waits for the answer, as the last question failed.
type suspectError struct {
	node string
	last error
}

func (e *suspectError) Error() string {
	return fmt.Sprintf("node %s is left out for the moment: %v", e.node, e.last)
}

func (e *suspectError) Unwrap() error { return e.last }

// run runs scripts in one pipeline. An error is of the whole; results have their own.
func (n *node) run(ctx context.Context, commands ...redisengine.Command) ([]redisengine.Result, error) {
	if err := n.waitOut(); err != nil {
		return nil, err
	}
	results := n.t.Do(ctx, commands...)
	unknown := slices.IndexFunc(results, isNoScript)
	if unknown < 0 {
		return results, nil
	}
	if err := n.load(ctx); err != nil {
		return nil, err
	}
	// What was before the first that it did not know has been carried out.
	again := n.t.Do(ctx, commands[unknown:]...)
	if slices.ContainsFunc(again, isNoScript) {
		return nil, &keptOutError{n.name, "restarted a moment ago", time.Duration(n.up) * time.Second}
	}
	return append(results[:unknown], again...), nil
}

func isNoScript(r redisengine.Result) bool { return redisengine.Code(r.Err) == "NOSCRIPT" }

func (n *node) waitOut() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if left := time.Until(n.outUntil); left > 0 {
		return &keptOutError{n.name, n.out, left}
	}
	return nil
}

// load loads the scripts, where the node may vote. Whoever comes meanwhile waits.
func (n *node) load(ctx context.Context) error {
	n.mu.Lock()
	if loading := n.loading; loading != nil {
		n.mu.Unlock()
		select {
		case <-loading:
			return n.waitOut()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	done := make(chan struct{})
	n.loading = done
	n.mu.Unlock()
	err := n.loadNow(ctx)
	n.mu.Lock()
	n.loading = nil
	n.mu.Unlock()
	close(done)
	return err
}

// loadNow is one pipeline, so one connection, so one run of the server.
func (n *node) loadNow(ctx context.Context) error {
	pipeline := []redisengine.Command{
		{Args: []string{"WATCH", n.guard}, FirstKey: 1},
		{Args: []string{"EVAL", guard.Source, "1", n.guard, strconv.FormatInt(n.up, 10)}, FirstKey: 3},
		{Args: []string{"MULTI"}},
		// Refused, and all that follows with it, where the guard's own changes are.
		{Args: []string{"SET", n.guard, "", "PX", "1000"}, FirstKey: 1},
		{Args: []string{"DEL", n.guard}, FirstKey: 1},
	}
	for _, s := range theScripts.all() {
		pipeline = append(pipeline, redisengine.Command{Args: []string{"SCRIPT", "LOAD", s.Source}})
	}
	results := n.t.Do(ctx, append(pipeline, redisengine.Command{Args: []string{"EXEC"}})...)
	last := len(results) - 1
	for _, r := range []redisengine.Result{results[1], results[last]} {
		if r.Err != nil {
			return redisengine.Explain(r.Err)
		}
	}
	if results[last].Value != nil {
		return nil
	}
	return n.keepOut(reply{results[1].Value})
}

// keepOut takes note that the node may not vote, and why.
func (n *node) keepOut(guarded reply) error {
	up, version := guarded.int(0), guarded.text(1)
	n.mu.Lock()
	defer n.mu.Unlock()
	left := time.Duration(n.up-up) * time.Second
	n.out = fmt.Sprintf("has run for %v, and may have forgotten what it voted before", time.Duration(up)*time.Second)
	if left <= 0 { // it has run for long enough: it is the version
		left = time.Minute
		n.out = "has version " + version + ", and only from 7 on does a restart forget scripts"
	}
	n.outUntil = time.Now().Add(left)
	return &keptOutError{n.name, n.out, left}
}

// admit says whether a request may be sent now. others: enough other nodes are well.
// Who tidies up is let through more often: what stays behind keeps a name taken here
// until its TTL ends.
func (n *node) admit(others, tidies bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.suspect && others {
		most := 1
		if tidies {
			most = mostTidying
		}
		if n.pending >= most || !tidies && time.Now().Before(n.next) {
			return &suspectError{n.name, n.failed}
		}
	}
	n.pending++
	return nil
}

// mostTidying is how many requests may be on their way to a node that does not
// answer.
const mostTidying = 64

// heed takes note of how a request went. A server that answered is no suspect,
// whatever it answered.
func (n *node) heed(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pending--
	if err == nil || redisengine.Code(err) != "" || isA[*keptOutError](err) {
		n.suspect = false
		return
	}
	n.suspect, n.failed = true, err
	n.next = time.Now().Add(probeEvery)
}

// suspicion is why nobody waits for the node; nil: it answered what it was asked last.
func (n *node) suspicion() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.suspect {
		return nil
	}
	return &suspectError{n.name, n.failed}
}
