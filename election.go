package lockstep

import (
	"context"
	"errors"

	"github.com/lockstep-go/lockstep/engine"
)

// An election is a line with one place in front: who stands there leads, the
// others are candidates in the order in which they came. What a candidate wants
// others to know (its address, its name) is its claim's note, the value; which
// term it is, its token.

// Election chooses one of many to lead. It is a stateless handle: any number of
// goroutines may use one, and each Campaign is a candidate of its own.
type Election struct{ r request }

// Leader is who leads, or that nobody does.
type Leader struct {
	ID    ClaimID // of the leader's claim; "" while nobody leads
	Value string  // what it was elected with, or has proclaimed since
	// Token is greater in every later term; 0: not known, as of a foreign leader
	// or, on some engines, in the first moments of a term.
	Token   Token
	Foreign bool // another program's library
}

// Vacant says that nobody leads.
func (l Leader) Vacant() bool { return l.ID == "" }

// Election is the election of that name. [WithNote] has no effect: a candidate's
// value is its note.
func (c *Client) Election(name string, opts ...LockOption) *Election {
	return &Election{c.newRequest(name, engine.Election, 1, 1, opts)}
}

// Campaign waits until this candidate leads, behind those that came before, or
// until ctx ends. value is what others see of it, up to [MaxNote] bytes;
// [Leadership.Transfer] finds a candidate by it. Release resigns.
//
// Errors are those of [Mutex.Lock].
func (e *Election) Campaign(ctx context.Context, value string) (*Leadership, error) {
	return e.campaign(ctx, value, how{op: "campaign for"})
}

// TryCampaign does not wait: [ErrHeld], a [*HeldError], says who leads.
func (e *Election) TryCampaign(ctx context.Context, value string) (*Leadership, error) {
	return e.campaign(ctx, value, how{op: "try to campaign for", try: true})
}

func (e *Election) campaign(ctx context.Context, value string, h how) (*Leadership, error) {
	l, err := e.with(value).acquire(ctx, h)
	if err != nil {
		return nil, err
	}
	return &Leadership{l}, nil
}

// with is the request of a candidate with this value.
func (e *Election) with(value string) request {
	r := e.r
	r.opts.note = []byte(value)
	if r.err == nil {
		r.err = checkNote(r.opts.note)
	}
	return r
}

// Leader asks who leads now. A vacancy is no error.
func (e *Election) Leader(ctx context.Context) (Leader, error) {
	l, err := e.leader(ctx)
	return l, failed("leader of", e.r.name, err)
}

func (e *Election) leader(ctx context.Context) (l Leader, err error) {
	full, err := e.r.canonical()
	if err != nil {
		return l, err
	}
	line, err := e.r.c.lineOf(ctx, full)
	if err != nil {
		return l, err
	}
	return e.leaderOf(line)
}

// leaderOf reads a line as an election's. A lock of ours on the name is no
// leader.
func (e *Election) leaderOf(line Line) (Leader, error) {
	if len(line.Holders) == 0 {
		return Leader{}, nil
	}
	p := line.Holders[0]
	if line.Kind != 0 && line.Kind != engine.Election && !p.Foreign {
		return Leader{}, &MismatchError{
			Name: e.r.name, Kind: line.Kind, Limit: line.Limit, WantKind: engine.Election, WantLimit: 1,
		}
	}
	return Leader{ID: p.ID, Value: string(p.Note), Token: p.Token, Foreign: p.Foreign}, nil
}

// Run campaigns, and runs f while it leads. f's context ends with ctx and when
// the lead is lost; it carries the lease ([TokenFrom]) and the leadership
// ([LeadershipFrom]). The lead is not given up before f has returned.
//
// Where the lead ended before f returned, because it was lost, transferred or
// resigned, Run campaigns again. Otherwise it gives up the lead and returns what
// f returned. It goes on while the engine cannot be reached; other errors of
// [Election.Campaign], and that of ctx, end it.
func (e *Election) Run(ctx context.Context, value string, f func(context.Context) error) error {
	for failures := 1; ; failures++ {
		led, again, err := e.term(ctx, value, f)
		if !again {
			return err
		}
		log := e.r.c.opts.log.With("name", e.r.name, "error", err)
		if led {
			failures = 0
			log.Info("lockstep: the lead ended; campaigning again")
			continue
		}
		log.Warn("lockstep: campaign failed; it is tried again")
		sleep(ctx, pause(e.r.c.opts.ttl, failures))
	}
}

// term is one campaign and, if it is won, one term of f.
func (e *Election) term(ctx context.Context, value string, f func(context.Context) error) (led, again bool, err error) {
	lead, err := e.Campaign(ctx, value)
	if err != nil {
		return false, ctx.Err() == nil && (errors.Is(err, ErrUnavailable) || errors.Is(err, ErrLost)), err
	}
	err = e.r.c.do(ctx, lead.Lease, func(ctx context.Context) error {
		err := f(ctx)
		again = lead.Err() != nil
		return err
	})
	return true, again, err
}
