package redlock

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/redisengine"
	"github.com/lockstep-go/lockstep/engine/redisengine/internal/keys"
	"github.com/lockstep-go/lockstep/engine/redisengine/redlock/internal/vote"
)

// Line reads every node until it is certain who is at a majority of them. Where too few
// nodes answer to tell, whoever may be is shown.
func (e *Engine) Line(ctx context.Context, name string) (engine.Line, error) {
	if e.isOver() {
		return engine.Line{}, errClosed
	}
	l := &look{nodes: len(e.nodes), kind: make(map[engine.ClaimID]engine.Kind), seen: make(map[seat]*seated)}
	var errs []error
	question := one(call{theScripts.look, nameKeys(e.key(name)), nil})
	err := e.gather(ctx, e.ask(e.all(), e.nodeTimeout(lookFor), "", question), e.all(), func(a answer) bool {
		v, err := a.first()
		if err != nil {
			errs = append(errs, e.blame(a.node, err))
			l.silent = l.silent.With(a.node)
		} else {
			l.read(a.node, reply{v})
		}
		return l.certain()
	})
	switch {
	case err != nil:
		return engine.Line{}, err
	case l.answered.Len() < vote.Majority(l.nodes):
		return engine.Line{}, tooFew(l.nodes, l.answered.Len(), errs)
	}
	line := l.line()
	line.Name = name
	return line, nil
}

// lookFor is the TTL whose node timeout a look has.
const lookFor = 10 * time.Second

// seat is somebody in a line: as holder or as waiter.
type seat struct {
	id    engine.ClaimID
	holds bool
}

// seated is what nodes say of a seat.
type seated struct {
	there  vote.Set
	place  engine.Place
	tokens map[engine.Token]int // by how many nodes
	note   int64                // the version of its note: the newest counts
}

// look is one reading of a line.
type look struct {
	nodes    int
	answered vote.Set
	silent   vote.Set
	kind     map[engine.ClaimID]engine.Kind
	seen     map[seat]*seated
}

func (l *look) read(node int, r reply) {
	l.answered, l.silent = l.answered.With(node), l.silent.Without(node)
	now := r.int(0)
	if value := r.text(1); value != "" {
		l.holder(node, value, r.int(2) == 1, now)
	}
	line := reply{r.at(3)}
	for i := 0; i+2 < line.len(); i += 3 {
		f := strings.SplitN(line.text(i+2), " ", 5)
		if len(f) < 5 {
			continue
		}
		id := engine.ClaimID(line.text(i))
		l.kind[id] = kindOf(f[1])
		age := time.Duration(now*1000-parseInt(line.text(i+1))) * time.Microsecond
		l.seat(node, seat{id, false}, engine.Place{ID: id, Shares: 1, Age: max(age, 1), Note: []byte(f[4])}, parseInt(f[2]))
	}
}

func (l *look) holder(node int, value string, foreign bool, now int64) {
	if foreign {
		id := engine.ClaimID("foreign" + value)
		l.seat(node, seat{id, true}, engine.Place{ID: id, Shares: 1, Foreign: true}, 0)
		return
	}
	f := strings.SplitN(value, ":", 10)
	if len(f) < 10 {
		return
	}
	id := engine.ClaimID(f[0])
	l.kind[id] = kindOf(f[5])
	s := l.seat(node, seat{id, true}, engine.Place{
		ID: id, Shares: 1, Age: max(millis(now-parseInt(f[4])), 1), Note: []byte(f[9]),
	}, parseInt(f[7]))
	s.tokens[engine.Token(parseInt(f[3]))]++
}

func (l *look) seat(node int, at seat, p engine.Place, version int64) *seated {
	s := l.seen[at]
	if s == nil {
		s = &seated{tokens: make(map[engine.Token]int)}
		l.seen[at] = s
	}
	if s.there == 0 || version > s.note {
		p.Age, s.note = max(p.Age, s.place.Age), version
		s.place = p
	}
	s.place.Age = max(s.place.Age, p.Age)
	s.there = s.there.With(node)
	return s
}

func (l *look) presence(s *seated) vote.Answer {
	return vote.Presence{Nodes: uint8(l.nodes), There: s.there, Absent: l.answered &^ s.there, Silent: l.silent}.Answer()
}

// certain says whether no further answer could change who is shown.
func (l *look) certain() bool {
	if l.answered.Len() < vote.Majority(l.nodes) {
		return false
	}
	for _, s := range l.seen {
		if a := l.presence(s); a == vote.NotKnown || a == vote.Perhaps {
			return false
		}
	}
	return true
}

func (l *look) line() (line engine.Line) {
	var holder *seated
	for at, s := range l.seen {
		if a := l.presence(s); a == vote.No || a == vote.NotKnown {
			continue
		}
		if !at.holds {
			line.Waiters = append(line.Waiters, s.place)
		} else if holder == nil || s.there.Len() > holder.there.Len() {
			holder = s
		}
	}
	if holder != nil {
		holder.place.Token = l.token(holder)
		line.Holders = []engine.Place{holder.place}
	}
	// A claim that tries for the name is neither in one line nor the holder of the other.
	line.Waiters = slices.DeleteFunc(line.Waiters, func(p engine.Place) bool { return holder != nil && p.ID == holder.place.ID })
	slices.SortFunc(line.Waiters, func(a, b engine.Place) int { return int(b.Age - a.Age) })
	for _, p := range slices.Concat(line.Holders, line.Waiters) {
		if line.Kind == 0 && l.kind[p.ID] != 0 {
			line.Kind, line.Limit = l.kind[p.ID], 1
		}
	}
	return line
}

// token is the holder's, if a majority says the same: else it may not be final.
func (l *look) token(s *seated) engine.Token {
	for token, nodes := range s.tokens {
		if nodes >= vote.Majority(l.nodes) {
			return token
		}
	}
	return 0
}

// namesPage is how many keys a step of a listing looks at.
const namesPage = "1000"

// Names walks the whole key space of every node, and yields what is on a majority of
// them. A foreign lock cannot be told from any other string there, and is left out.
func (e *Engine) Names(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		names, err := e.names(ctx, prefix)
		if err != nil {
			yield("", err)
			return
		}
		for _, name := range names {
			if !yield(name, nil) {
				return
			}
		}
	}
}

// listing is what one node has.
type listing struct {
	node  int
	names map[string]bool
	err   error
}

func (e *Engine) names(ctx context.Context, prefix string) ([]string, error) {
	if e.isOver() {
		return nil, errClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	listings := make(chan listing, len(e.nodes))
	for i, n := range e.nodes {
		if !e.aside(func() {
			names, err := e.namesAt(ctx, n, prefix)
			listings <- listing{i, names, err}
		}) {
			return nil, errClosed
		}
	}
	there := make(map[string]vote.Set)
	var silent vote.Set
	var errs []error
	for range e.nodes {
		l := <-listings // namesAt obeys ctx
		if l.err != nil {
			silent = silent.With(l.node)
			errs = append(errs, e.blame(l.node, l.err))
		}
		for name := range l.names {
			there[name] = there[name].With(l.node)
		}
	}
	switch answered := len(e.nodes) - silent.Len(); {
	case e.isOver():
		return nil, errClosed
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case answered < vote.Majority(len(e.nodes)):
		return nil, tooFew(len(e.nodes), answered, errs)
	}
	var names []string
	for name, nodes := range there {
		p := vote.Presence{Nodes: uint8(len(e.nodes)), There: nodes, Absent: e.all() &^ nodes &^ silent, Silent: silent}
		if p.Answer() == vote.Yes || p.Answer() == vote.Perhaps {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// namesAt is the names with claims at one node, page by page. A page has as long as
// any other question.
func (e *Engine) namesAt(ctx context.Context, n *node, prefix string) (map[string]bool, error) {
	names := make(map[string]bool)
	for cursor := "0"; ; {
		page, cancel := context.WithTimeout(ctx, e.nodeTimeout(lookFor))
		found, next, err := e.namesPage(page, n, e.key(prefix), cursor)
		cancel()
		if err != nil {
			return nil, err
		}
		for _, key := range found {
			if name, ours := strings.CutPrefix(key, e.opts.prefix); ours {
				names[name] = true
			}
		}
		if cursor = next; cursor == "0" {
			return names, nil
		}
	}
}

func (e *Engine) namesPage(ctx context.Context, n *node, prefix, cursor string) (names []string, next string, err error) {
	match := "*" + escapeGlob.Replace(prefix) + "*"
	r := n.t.Do(ctx, redisengine.Command{Args: []string{"SCAN", cursor, "MATCH", match, "COUNT", namesPage}})[0]
	if r.Err != nil {
		return nil, "", r.Err
	}
	found := reply{reply{r.Value}.at(1)}
	var candidates []string
	var looks []redisengine.Command
	for i := range found.len() {
		key := found.text(i)
		if name, ok := keys.Of(key, liveKey); ok {
			if strings.HasPrefix(name, prefix) {
				names = append(names, name)
			}
			continue
		}
		if strings.HasPrefix(key, prefix) && !strings.Contains(key, keys.Infix) {
			candidates = append(candidates, key)
			looks = append(looks, redisengine.Command{Args: []string{"GETRANGE", key, "0", "80"}, FirstKey: 1})
		}
	}
	if len(looks) == 0 {
		return names, reply{r.Value}.text(0), nil
	}
	for i, look := range n.t.Do(ctx, looks...) {
		switch redisengine.Code(look.Err) {
		case "WRONGTYPE", "NOPERM": // not a lock, or not this user's business
			continue
		}
		if look.Err != nil {
			return nil, "", look.Err
		}
		if s, _ := look.Value.(string); strings.Contains(s, marker) {
			names = append(names, candidates[i])
		}
	}
	return names, reply{r.Value}.text(0), nil
}

// escapeGlob takes the meaning from what SCAN's patterns give one.
var escapeGlob = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)
