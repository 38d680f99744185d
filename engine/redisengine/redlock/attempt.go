package redlock

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/redisengine"
	"github.com/lockstep-go/lockstep/engine/redisengine/redlock/internal/vote"
)

// outcome is what an attempt came to, and what it learned by the way.
type outcome struct {
	vote   vote.Attempt
	number int64
	tail   string
	mode   string
	start  time.Time
	took   time.Duration
	until  time.Time // of a grant
	late   bool      // it would have been won, too late
	err    error     // its caller left, or something ended
	open   vote.Set  // nodes whose last word on their vote has not come
	doubt  vote.Set  // nodes that may have voted, and whose answer will not come

	left    [vote.MaxNodes]time.Duration // for how long votes last
	place   [vote.MaxNodes]string        // in line, to be given back with a vote
	whose   map[string]vote.Set          // who has the name where it was refused; "-": nobody, others were first
	kinds   map[string]vote.Set          // and what kind of claim that is
	absent  vote.Set                     // where the claim was in no line
	foreign string                       // why a key there cannot be shared with
	errs    []error
}

// attempt asks every node for its vote, and does what the votes say. One that is lost is
// withdrawn; where it may have a vote that its caller has not heard of, in the
// background.
func (a *acquire) attempt(ctx context.Context, mode string) *outcome {
	a.w.begin()
	o := &outcome{
		vote: vote.New(len(a.e.nodes)), number: attempts.Add(1), tail: a.s.tail(a.c, a.cl), mode: mode, start: time.Now(), open: a.e.all(),
	}
	question := call{theScripts.acquire, nameKeys(a.e.key(a.c.Name)), []string{
		string(a.c.ID), strconv.FormatInt(o.number, 10), inMillis(a.life), o.tail, mode, inMillis(a.s.ttl),
	}}
	votes := make(chan answer, 2*len(a.e.nodes))
	a.e.send(votes, a.e.all(), a.timeout(), a.c.Name, one(question), how{patient: a.patient})
	if a.e.isOver() {
		o.err = errClosed
		return o
	}
	wrote := make(chan answer, 2*len(a.e.nodes)) // of the second round
	var asked vote.Set
	for o.vote.Phase < vote.Won {
		if now := o.vote.Write() &^ asked; now != 0 {
			asked |= now
			a.write(o, now, wrote)
		}
		select {
		case n := <-votes:
			a.voted(o, n)
		case n := <-wrote:
			o.wrote(n)
		case <-a.s.ended:
			o.err = engine.ErrSessionEnded
			o.vote.Expire()
		case <-a.e.closing:
			o.err = errClosed
			o.vote.Expire()
		case <-ctx.Done():
			o.err = ctx.Err()
			o.vote.Expire()
		}
	}
	a.end(o)
	if o.vote.Phase == vote.Lost {
		a.withdraw(ctx, o, votes)
	}
	return o
}

// write asks nodes to vouch for the token.
func (a *acquire) write(o *outcome, to vote.Set, wrote chan<- answer) {
	keys := nameKeys(a.e.key(a.c.Name))[:2]
	args := []string{string(a.c.ID), strconv.FormatInt(o.number, 10), strconv.FormatUint(o.vote.Token, 10)}
	a.e.askInto(wrote, to, a.timeout(), a.c.Name, one(call{theScripts.write, keys, args}))
}

func (o *outcome) wrote(n answer) {
	switch v, err := n.first(); {
	case err != nil:
		o.vote.Mute(n.node)
	case v == int64(1):
		o.vote.Wrote(n.node)
	default:
		o.vote.Decline(n.node)
	}
}

// timeout is how long a node may take for its part of an attempt.
func (a *acquire) timeout() time.Duration { return a.e.nodeTimeout(a.s.ttl) }

// heard takes note of whether anything more is to be heard of a node's vote. Only
// where a node was asked, and its answer did not come, is it not known.
func (o *outcome) heard(n answer, err error) {
	if n.more {
		return
	}
	o.open = o.open.Without(n.node)
	if err != nil && redisengine.Code(err) == "" && !isA[*suspectError](err) && !isA[*keptOutError](err) {
		o.doubt = o.doubt.With(n.node)
	}
}

// isA says whether an error is, or wraps, one of a type.
func isA[E error](err error) bool {
	_, is := errors.AsType[E](err)
	return is
}

// voted takes what a node said of its vote.
func (a *acquire) voted(o *outcome, n answer) {
	v, err := n.first()
	o.heard(n, err)
	if err != nil {
		o.errs = append(o.errs, a.e.blame(n.node, err))
		o.vote.Mute(n.node)
		return
	}
	if count, ok := v.(string); ok { // nobody waits there
		o.left[n.node] = a.life
		o.absent = o.absent.With(n.node)
		o.vote.Granted(n.node, uint64(parseInt(count)))
		return
	}
	r := reply{v}
	switch head := r.text(0); head {
	case "h":
		a.refusedBy(o, n.node, r)
	case "m":
		o.foreign = r.text(1)
		o.learn(n.node, "?", "?")
		o.vote.Refused(n.node)
	case "s": // a later attempt of this claim: nobody waits for this one
		o.vote.Mute(n.node)
	default:
		if o.place[n.node] = r.text(1); o.place[n.node] == "" {
			o.absent = o.absent.With(n.node)
		}
		o.left[n.node] = min(millis(r.int(2)-1), a.life) // what is left was rounded, up to a ms too much
		o.vote.Granted(n.node, uint64(parseInt(head)))
	}
}

func (o *outcome) learn(node int, whose, kind string) {
	if o.whose == nil {
		o.whose, o.kinds = make(map[string]vote.Set), make(map[string]vote.Set)
	}
	o.whose[whose] = o.whose[whose].With(node)
	o.kinds[kind] = o.kinds[kind].With(node)
}

// refusedBy also tells the wait when the name may be free there.
func (a *acquire) refusedBy(o *outcome, node int, r reply) {
	o.learn(node, r.text(1), r.text(2))
	left, rank := r.int(3), int(r.int(4))
	if rank < 0 {
		o.absent = o.absent.With(node)
	}
	o.vote.Refused(node)
	a.see(node, sight{known: true, at: o.start, rank: rank, left: millis(max(left, 0)), forever: left == -1, foreign: r.text(2) == "f"})
}

func (a *acquire) see(node int, s sight) {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	a.w.seen[node] = s
}

// end says until when a grant is good, and whether that is worth having.
func (a *acquire) end(o *outcome) {
	o.took = time.Since(o.start)
	if o.vote.Asked() {
		a.w.mu.Lock()
		a.w.asked = o.start
		a.w.mu.Unlock()
	}
	if o.vote.Phase != vote.Won {
		return
	}
	if o.err != nil || !vote.Valid(a.life, o.took, a.e.opts.drift) {
		o.late = true
		o.vote.Expire()
		return
	}
	o.until = o.start.Add(o.shortest() - vote.Drift(a.life, a.e.opts.drift))
}

// shortest is for how long a majority of votes lasts: a term that is asked for again
// goes on as it was.
func (o *outcome) shortest() time.Duration {
	var all []time.Duration
	for node := range int(o.vote.Nodes) {
		if o.vote.For.Has(node) {
			all = append(all, o.left[node])
		}
	}
	slices.Sort(all)
	return all[len(all)-vote.Majority(int(o.vote.Nodes))]
}

// leftOut says whether too few answered, though others could be asked.
func (o *outcome) leftOut() bool {
	return o.err == nil && o.vote.Phase == vote.Lost && !o.vote.Asked() && slices.ContainsFunc(o.errs, isA[*suspectError])
}

// split says whether, as far as is known, nobody can have a majority: then nobody
// will tell that the name is free.
func (o *outcome) split() bool {
	unknown := int(o.vote.Nodes) - (o.vote.For | o.vote.Against).Len()
	for who, where := range o.whose {
		if who == "-" || who == "?" || where.Len()+unknown >= vote.Majority(int(o.vote.Nodes)) {
			return false
		}
	}
	return true
}

// mismatch is what stands in the way at a majority, if that cannot be waited for.
func (o *outcome) mismatch(e *Engine, want engine.Kind) *engine.MismatchError {
	majority := vote.Majority(len(e.nodes))
	if o.kinds["?"].Len() >= majority {
		return &engine.MismatchError{Detail: o.foreign}
	}
	for _, kind := range []engine.Kind{engine.Mutex, engine.Election} {
		if kind != want && o.kinds[letter(kind)].Len() >= majority {
			return &engine.MismatchError{Kind: kind, Limit: 1}
		}
	}
	return nil
}

// withdraw gives back what a lost attempt got, and waits for it, so that the next one
// finds nodes as this one did; and, in the background, what it may yet get. Where
// its caller left, the claim stays as it is: whoever gives up releases it.
func (a *acquire) withdraw(ctx context.Context, o *outcome, votes <-chan answer) {
	had := o.vote.Withdraw() & o.vote.For
	if o.open|o.doubt != 0 {
		a.e.aside(func() { a.withdrawLater(o, votes) })
	}
	if had == 0 || o.err != nil {
		return
	}
	gone := a.e.tidy(had, a.timeout(), a.c.Name, a.withdrawal(o, o.mode != modeTry))
	_ = a.e.gather(ctx, gone, had, func(n answer) bool { // what fails ends by its TTL
		if v, err := n.first(); err == nil && o.mode != modeTry {
			rank, _ := v.(int64)
			a.see(n.node, sight{known: true, at: time.Now(), rank: int(rank)})
		}
		return false
	})
}

// withdrawal gives a vote back by the number of its attempt. Who waits is given its
// place back.
func (a *acquire) withdrawal(o *outcome, waits bool) perNode {
	ttl := "0"
	if waits {
		ttl = inMillis(a.s.ttl)
	}
	keys := nameKeys(a.e.key(a.c.Name))
	return func(node int) []redisengine.Command {
		c := call{theScripts.withdraw, keys, []string{string(a.c.ID), strconv.FormatInt(o.number, 10), o.tail, ttl, o.place[node]}}
		return []redisengine.Command{c.command()}
	}
}

// withdrawLater looks after nodes that have not said their last word on an attempt that was
// lost. A vote that comes is given back; where no answer comes at all, the request may
// still be on its way, so a vote is given back when it no longer can be.
func (a *acquire) withdrawLater(o *outcome, votes <-chan answer) {
	for o.open != 0 {
		select {
		case n := <-votes:
			v, err := n.first()
			o.heard(n, err)
			r := reply{v}
			if head := r.text(0); err != nil || o.err != nil || head == "h" || head == "m" || head == "s" {
				continue
			}
			o.place[n.node] = r.text(1)
			a.e.tidy(vote.Set(0).With(n.node), a.timeout(), a.c.Name, a.withdrawal(o, o.mode != modeTry))
		case <-a.e.closing:
			return
		}
	}
	if o.doubt != 0 {
		pause(a.e.ctx, straggle)
		a.e.tidy(o.doubt, a.timeout(), a.c.Name, a.withdrawal(o, false)) // whoever waits has been asked for anew
	}
}
