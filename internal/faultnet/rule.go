package faultnet

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Match picks requests by their bytes, as they are on the wire. It is called
// once for each request, in an order, and may keep a state.
type Match func(request []byte) bool

// Contains matches requests that contain the text.
func Contains(text string) Match {
	return func(request []byte) bool { return bytes.Contains(request, []byte(text)) }
}

// Any matches every request.
func Any(request []byte) bool { return true }

// Nth matches only the n-th request, counted from 1, that m matches.
func Nth(n int, m Match) Match {
	return func(request []byte) bool {
		if m(request) {
			n--
			return n == 0
		}
		return false
	}
}

// Rule is something that happens to the requests that it matches, or to the
// messages, until it is removed or the network healed.
type Rule struct {
	p        *Proxy
	match    Match
	messages bool
	does     func(*Rule, *parcel)

	mu         sync.Mutex
	hits       int
	hit        chan struct{} // closed at the first
	seen       []straggler   // kept by Record
	stragglers []straggler
	released   chan struct{}
}

// straggler is requests that arrive without the connection that they were sent
// on, and what a connection of their own must say first.
type straggler struct{ setup, requests [][]byte }

// DropRepliesFrom lets a request pass, and swallows everything that its
// connection brings once earlier requests have been answered. Other connections
// work.
func (p *Proxy) DropRepliesFrom(m Match) *Rule {
	p.needReplies("DropRepliesFrom")
	return p.rule(m, false, func(r *Rule, c *parcel) { c.mute = r })
}

// ResetAtReply lets a request pass and, when the server has answered it, resets
// its connection instead of passing the reply on.
func (p *Proxy) ResetAtReply(m Match) *Rule {
	p.needReplies("ResetAtReply")
	return p.rule(m, false, func(_ *Rule, c *parcel) { c.reset = true })
}

// Replay passes a request twice: when its reply comes it is sent again, on a
// connection of its own, and only after the server answered that, too, does the
// first reply arrive.
func (p *Proxy) Replay(m Match) *Rule {
	p.needReplies("Replay")
	return p.rule(m, false, func(_ *Rule, c *parcel) { c.replay = true })
}

// Hold keeps a request back, and so everything behind it on its connection,
// until Release. Where the connection has ended by then, what was held arrives
// all the same, as what is on its way in a network does.
func (p *Proxy) Hold(m Match) *Rule {
	return p.rule(m, false, func(r *Rule, c *parcel) { c.holds = append(c.holds, r) })
}

// Record changes nothing; its rule remembers the requests for Again.
func (p *Proxy) Record(m Match) *Rule {
	return p.rule(m, false, func(r *Rule, c *parcel) { r.seen = append(r.seen, straggler{c.link.preamble(), [][]byte{c.data}}) })
}

// Count changes nothing; its rule counts the requests.
func (p *Proxy) Count(m Match) *Rule { return p.rule(m, false, func(*Rule, *parcel) {}) }

// DropMessages swallows messages of subscriptions, and nothing else: neither end
// can notice. That a subscription began or ended is a reply, in the form of a
// message: without it a client would take each later reply for that of the request
// before.
func (p *Proxy) DropMessages(m Match) *Rule {
	p.needReplies("DropMessages")
	published := func(data []byte) bool { return !strings.HasSuffix(command(data), "SUBSCRIBE") && m(data) }
	return p.rule(published, true, func(_ *Rule, c *parcel) { c.skip = true })
}

func (p *Proxy) needReplies(rule string) {
	if !p.proto.knowsReplies() {
		p.t.Errorf("faultnet: %s needs a protocol whose replies are understood", rule)
	}
}

func (p *Proxy) rule(m Match, messages bool, does func(*Rule, *parcel)) *Rule {
	r := &Rule{p: p, match: m, messages: messages, does: does, hit: make(chan struct{}), released: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, r)
	return r
}

// apply asks every rule about a request or a message. One at a time, so that a Match that
// counts need not lock.
func (p *Proxy) apply(c *parcel, message bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.rules {
		if r.messages != message || !r.match(c.data) {
			continue
		}
		r.mu.Lock()
		r.does(r, c)
		if r.hits++; r.hits == 1 {
			close(r.hit)
		}
		r.mu.Unlock()
	}
}

// Hit is closed when the rule has matched for the first time.
func (r *Rule) Hit() <-chan struct{} { return r.hit }

// Hits is how often the rule has matched.
func (r *Rule) Hits() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hits
}

// Remove ends the rule; what it held goes on.
func (r *Rule) Remove() {
	r.p.mu.Lock()
	r.p.rules = slices.DeleteFunc(r.p.rules, func(other *Rule) bool { return other == r })
	r.p.mu.Unlock()
	r.Release()
}

// Release lets go of what Hold keeps back, and of what it would from now on. It
// returns when the server has answered what was held on connections that are
// gone.
func (r *Rule) Release() {
	r.p.settle()
	r.mu.Lock()
	if !r.isReleased() {
		close(r.released)
	}
	late := r.stragglers
	r.stragglers = nil
	r.mu.Unlock()
	for _, s := range late {
		r.p.arrive(s)
	}
	r.p.settle()
}

func (r *Rule) isReleased() bool {
	select {
	case <-r.released:
		return true
	default:
		return false
	}
}

// Again sends what Record has remembered once more, each on a connection of its
// own and in order, and returns the replies as they are on the wire.
func (r *Rule) Again() ([]string, error) {
	r.mu.Lock()
	seen := slices.Clone(r.seen)
	r.mu.Unlock()
	var all []string
	for _, s := range seen {
		replies, err := r.p.aside(s)
		if err != nil {
			return all, err
		}
		all = append(all, replies...)
	}
	return all, nil
}

// strand keeps what was held on a connection that ended, with everything behind
// it; what nothing held is lost with the connection.
func (p *Proxy) strand(rest []*parcel) {
	i := slices.IndexFunc(rest, func(c *parcel) bool { return len(c.holds) > 0 })
	if i < 0 {
		return
	}
	s := straggler{rest[i].link.preamble(), requests(rest[i:])}
	if !rest[i].holds[0].keep(s) {
		p.arrive(s)
	}
}

// keep is for Release to find; false: that was already.
func (r *Rule) keep(s straggler) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isReleased() {
		return false
	}
	r.stragglers = append(r.stragglers, s)
	return true
}

func (p *Proxy) arrive(s straggler) {
	if _, err := p.aside(s); err != nil && !p.isClosed() {
		p.t.Errorf("faultnet: sending a request by itself: %v", err)
	}
}

func requests(parcels []*parcel) [][]byte {
	var all [][]byte
	for _, c := range parcels {
		if !c.last {
			all = append(all, c.data)
		}
	}
	return all
}

func (r *Rule) String() string { return fmt.Sprintf("rule of %s, %d hits", r.p, r.Hits()) }
