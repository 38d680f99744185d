package lockstep

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/lockstep-go/lockstep/engine"
)

// A group is a line in which everybody is let in at once: a member is a claim, and
// its note says who it is. An id is the first's in line that has it; a later one
// with the same id waits behind it and is no member yet. So no two members ever
// share an id, without asking anybody but the line.

// Group is programs that know of each other. It is a stateless handle: any number
// of goroutines may use one, and each Join is a member of its own.
type Group struct{ r request }

// Member is one of a group, as others see it.
type Member struct {
	ID      string // no two members have the same
	Data    []byte
	Token   Token // greater for every later member; 0: not known
	Foreign bool  // another program's library; its ID is its claim's
}

// Group is the group of that name. [WithNote] has no effect: a member's note says
// who it is. [WithWait] bounds how long Join waits for an id that somebody has.
func (c *Client) Group(name string, opts ...LockOption) *Group {
	return &Group{c.newRequest(name, engine.Group, 1, engine.Unlimited, opts)}
}

// Members is who is in the group now, in the order in which they joined.
func (g *Group) Members(ctx context.Context) ([]Member, error) {
	members, err := g.list(ctx)
	return members, failed("members of", g.r.name, err)
}

func (g *Group) list(ctx context.Context) ([]Member, error) {
	full, err := g.r.canonical()
	if err != nil {
		return nil, err
	}
	line, err := g.r.c.lineOf(ctx, full)
	if err != nil {
		return nil, err
	}
	return g.members(line)
}

// Watch yields who is in the group now, and then all of them again after every
// change that it sees: of who is in, and of what they say. Changes in between may
// be merged; the last always arrives. Who is gone without a word is seen to be
// gone within one TTL, on the file engine at once.
//
// It waits for an engine that cannot be reached, and goes on after an
// interruption, without an error. It ends after its first error, as
// [Election.Observe] does. A loop may be left at any time.
func (g *Group) Watch(ctx context.Context) iter.Seq2[[]Member, error] {
	return func(yield func([]Member, error) bool) {
		full, err := g.r.canonical()
		if err != nil {
			yield(nil, failed("watch group", g.r.name, err))
			return
		}
		var last []Member
		shown := false
		for line, err := range g.r.c.lines(ctx, full) {
			var now []Member
			if err == nil {
				now, err = g.members(line)
			}
			if err != nil {
				yield(nil, failed("watch group", g.r.name, err))
				return
			}
			if shown && slices.EqualFunc(now, last, Member.same) {
				continue
			}
			shown, last = true, now
			if !yield(cloneMembers(now), nil) {
				return
			}
		}
	}
}

func (m Member) same(o Member) bool {
	return m.ID == o.ID && m.Token == o.Token && m.Foreign == o.Foreign && bytes.Equal(m.Data, o.Data)
}

// cloneMembers is for the receiver to keep and change.
func cloneMembers(members []Member) []Member {
	own := slices.Clone(members)
	for i := range own {
		own[i].Data = bytes.Clone(own[i].Data)
	}
	return own
}

// members reads a line as a group's.
func (g *Group) members(line Line) ([]Member, error) {
	members := make([]Member, 0, len(line.Holders))
	taken := make(map[string]struct{}, len(line.Holders))
	for _, p := range line.Holders {
		m, err := g.member(line, p)
		if err != nil {
			return nil, err
		}
		if _, later := taken[m.ID]; !later {
			taken[m.ID] = struct{}{}
			members = append(members, m)
		}
	}
	return members, nil
}

func (g *Group) member(line Line, p Place) (Member, error) {
	if p.Foreign {
		return Member{ID: string(p.ID), Data: p.Note, Token: p.Token, Foreign: true}, nil
	}
	if line.Kind != 0 && line.Kind != engine.Group {
		return Member{}, &MismatchError{
			Name: g.r.name, Kind: line.Kind, Limit: line.Limit, WantKind: engine.Group, WantLimit: engine.Unlimited,
		}
	}
	id, data, err := parseMember(p.Note)
	if err != nil {
		return Member{}, fmt.Errorf("%w (claim %s in group %q)", err, p.ID, g.r.name)
	}
	return Member{ID: id, Data: data, Token: p.Token}, nil
}

// memberLayout begins a member's note (S13): its id is the rest of the first line,
// what follows is its data.
const memberLayout = "1 "

func memberNote(id string, data []byte) ([]byte, error) {
	if len(id) > MaxKey {
		return nil, invalidf("member id %.40q… has %d bytes; it may have %d", id, len(id), MaxKey)
	}
	if err := checkText("member id", id); err != nil {
		return nil, err
	}
	note := append([]byte(memberLayout+id+"\n"), data...)
	if len(note) > MaxNote {
		return nil, invalidf("member data of %d bytes; with this id it may have %d", len(data), MaxNote-len(note)+len(data))
	}
	return note, nil
}

func parseMember(note []byte) (id string, data []byte, err error) {
	head, data, ok := bytes.Cut(note, []byte("\n"))
	id, known := strings.CutPrefix(string(head), memberLayout)
	switch {
	case ok && known:
		return id, data, nil
	case ok && len(head) > 0 && head[0] > memberLayout[0] && head[0] <= '9':
		return "", nil, fmt.Errorf("%w: a member of a newer layout: this program needs a newer Lockstep", ErrUnsupported)
	}
	return "", nil, fmt.Errorf("%w: a claim that is no member's", ErrMismatch)
}

// Join makes this program a member, whom others see with this id and data, until
// it leaves or the client is closed. Where its session is lost it joins again by
// itself, with the id and data that it has. id is any text of up to [MaxKey] bytes;
// "": one that nobody else has is made. While another member has the id, Join
// waits behind it: a program that was killed is a member until its session ends.
//
// Errors are those of [Mutex.Lock]: [ErrHeld] if the id is still taken after
// [WithWait].
func (g *Group) Join(ctx context.Context, id string, data []byte) (*Membership, error) {
	if id == "" {
		id = rand.Text()
	}
	m, err := g.join(ctx, id, bytes.Clone(data))
	return m, failed("join", g.r.name, err)
}

func (g *Group) join(ctx context.Context, id string, data []byte) (*Membership, error) {
	full, err := g.r.canonical()
	if err != nil {
		return nil, err
	}
	m := &Membership{g: g, full: full, id: id, data: data, turn: make(chan struct{}, 1)}
	m.ctx, m.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	l, err := m.enter(ctx)
	if err != nil {
		return nil, err
	}
	if !m.adopt(l) {
		return nil, ErrClosed
	}
	return m, nil
}
