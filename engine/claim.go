package engine

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

type (
	// ClaimID is random and unique for ever (the core makes 26 characters of
	// 130 random bits). A foreign claim has whatever id the engine gives it.
	ClaimID string

	// Token is greater for every later grant on one name (S2), and below 1<<63.
	// 0: not known. Tokens of different engines are not comparable.
	Token uint64

	// Kind chooses the key layout and the token rule where an engine has several.
	Kind uint8
)

// The kinds of claims.
const (
	Mutex     Kind = 1 + iota // 1 of 1, in the layout that foreign mutexes use
	ReadWrite                 // 1 (read) or Unlimited (write) of Unlimited
	Semaphore                 // k of n
	Election                  // 1 of 1; observers see note and token
	Group                     // 1 of Unlimited; observers see note and token
)

// String is the kind as users know it.
func (k Kind) String() string {
	switch k {
	case Mutex:
		return "mutex"
	case ReadWrite:
		return "read-write lock"
	case Semaphore:
		return "semaphore"
	case Election:
		return "election"
	case Group:
		return "group"
	}
	return "kind " + strconv.Itoa(int(k))
}

// Unlimited is the limit of read-write locks and groups, and a writer's shares.
const Unlimited = math.MaxInt32

// Claim is one request in a line. It never changes after its first Acquire.
type Claim struct {
	ID     ClaimID
	Name   string // canonical, as Engine.CheckName gave it
	Kind   Kind
	Shares int           // 1 … Limit
	Limit  int           // the line's: the first claim of a line rules
	Try    bool          // do not wait and do not enter the line: ErrHeld
	Term   time.Duration // > 0: from its grant on it belongs to no session and ends by itself
	Note   []byte        // what others see of the claim, up to 4 KiB
}

// Check refuses, with ErrInvalid, what would wait for ever or break the line for
// others. Every Acquire begins with it.
func (c *Claim) Check() error {
	switch {
	case c.ID == "":
		return fmt.Errorf("%w: a claim without an id", ErrInvalid)
	case c.Kind < Mutex || c.Kind > Group:
		return fmt.Errorf("%w: %v", ErrInvalid, c.Kind)
	case c.Shares < 1 || c.Shares > c.Limit:
		return fmt.Errorf("%w: %d shares of %d", ErrInvalid, c.Shares, c.Limit)
	case c.Term < 0:
		return fmt.Errorf("%w: a term of %v", ErrInvalid, c.Term)
	}
	return nil
}

// Grant is the answer to a claim whose turn has come.
type Grant struct {
	Token Token
	// Until is when this process must stop believing in the grant, before any
	// margin, on this process's clock with its monotonic reading. Zero: as long
	// as the session's window. Never zero where Claim.Term is set.
	Until time.Time
}

// Line is who holds a name and who waits, both in order. In a [HeldError] the
// waiters may be missing.
type Line struct {
	Name    string
	Kind    Kind // 0: nobody is in line, or the layout does not tell
	Limit   int
	Holders []Place
	Waiters []Place
}

// Same says whether two lines are alike but for ages, which change by themselves.
func (l Line) Same(o Line) bool {
	return l.Kind == o.Kind && l.Limit == o.Limit &&
		slices.EqualFunc(l.Holders, o.Holders, Place.same) && slices.EqualFunc(l.Waiters, o.Waiters, Place.same)
}

func (p Place) same(o Place) bool {
	return p.ID == o.ID && p.Shares == o.Shares && p.Token == o.Token && p.Foreign == o.Foreign && bytes.Equal(p.Note, o.Note)
}

// Place is one claim in a line, as others see it.
type Place struct {
	ID      ClaimID
	Shares  int
	Token   Token         // 0: this engine cannot show it
	Age     time.Duration // since the grant (holder) or the claim (waiter); 0: not known
	Note    []byte
	Foreign bool // another program's library
}
