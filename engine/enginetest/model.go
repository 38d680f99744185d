package enginetest

import (
	"slices"

	"github.com/lockstep-go/lockstep/engine"
)

// model is a line as the contract has it, told in its own way: it grants one
// claim at a time, by looking at what is held and at who is first.
type model struct {
	limit            int
	holders, waiters []*engine.Claim
}

func (m *model) enter(c *engine.Claim) {
	m.waiters = append(m.waiters, c)
	m.grant()
}

func (m *model) leave(c *engine.Claim) {
	is := func(other *engine.Claim) bool { return other == c }
	m.holders = slices.DeleteFunc(m.holders, is)
	m.waiters = slices.DeleteFunc(m.waiters, is)
	m.grant()
}

func (m *model) grant() {
	for len(m.waiters) > 0 {
		held := int64(0) // several Unlimited shares are more than an int has on some machines
		for _, h := range m.holders {
			held += int64(h.Shares)
		}
		if held+int64(m.waiters[0].Shares) > int64(m.limit) {
			return
		}
		m.holders = append(m.holders, m.waiters[0])
		m.waiters = m.waiters[1:]
	}
}

func (m *model) all() []*engine.Claim { return slices.Concat(m.holders, m.waiters) }

// matches compares without the order of holders: they all hold.
func (m *model) matches(l engine.Line) bool {
	held := func(claims []*engine.Claim) []engine.ClaimID {
		out := []engine.ClaimID{}
		for _, c := range claims {
			out = append(out, c.ID)
		}
		return out
	}
	return slices.Equal(slices.Sorted(slices.Values(ids(l.Holders))), slices.Sorted(slices.Values(held(m.holders)))) &&
		slices.Equal(ids(l.Waiters), held(m.waiters))
}
