package redisengine

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/redisengine/internal/keys"
)

// Line is the present line of a name.
func (e *Engine) Line(ctx context.Context, name string) (engine.Line, error) {
	line, _, err := e.look(ctx, name, 0)
	return line, err
}

// look also says when the first claim in the line ends, should nobody renew it;
// 0: none does. Scripts tell watchers of the line for as long as `watched`.
func (e *Engine) look(ctx context.Context, name string, watched time.Duration) (line engine.Line, ends time.Duration, err error) {
	v, err := e.run(ctx, e.scripts.look, lineKeys(e.key(name)), strconv.FormatInt(watched.Milliseconds(), 10))
	if err != nil {
		return engine.Line{}, 0, err
	}
	l := lineReply{reply{v}}
	line, ends = l.read()
	line.Name = name
	return line, ends, nil
}

// lineReply is what lua/look.lua answers: 0 now, 1 the value, 2 whether it is
// foreign, 3 what is left of it, 4 kind, 5 limit, 6 who waits, 7 claims.
type lineReply struct{ reply }

func (l lineReply) read() (line engine.Line, ends time.Duration) {
	line.Kind, line.Limit = kindOf(l.text(4)), int(l.int(5))
	sooner := func(left time.Duration) {
		if left > 0 && (ends == 0 || left < ends) {
			ends = left
		}
	}
	if value := l.text(1); value != "" {
		kind, place := l.holder(value)
		line.Holders = append(line.Holders, place)
		if line.Kind == 0 && kind != 0 {
			line.Kind, line.Limit = kind, 1
		}
		sooner(millis(l.int(3)))
	}
	claims := make(map[string]engine.Place)
	for i := 0; i+2 < l.sub(7).len(); i += 3 {
		c := l.sub(7)
		id, place := c.text(i), placeOf(c.text(i+1), l.int(0))
		place.ID = engine.ClaimID(id)
		sooner(millis(c.int(i + 2)))
		if place.Token > 0 {
			line.Holders = append(line.Holders, place)
			continue
		}
		claims[id] = place
	}
	// They come in the order in which they end, which renewals change.
	slices.SortFunc(line.Holders, func(a, b engine.Place) int { return cmp.Compare(a.Token, b.Token) })
	for i := 0; i+1 < l.sub(6).len(); i += 2 {
		id := l.sub(6).text(i)
		place, lives := claims[id]
		if !lives {
			continue
		}
		place.Age = age(l.int(0), parseInt(l.sub(6).text(i+1)))
		line.Waiters = append(line.Waiters, place)
	}
	return line, ends
}

// holder is who has the name for itself.
func (l lineReply) holder(value string) (engine.Kind, engine.Place) {
	if l.int(2) == 1 {
		return 0, engine.Place{ID: engine.ClaimID("foreign" + value), Shares: 1, Foreign: true}
	}
	f := strings.SplitN(value, ":", 8)
	if len(f) < 8 {
		return 0, engine.Place{ID: engine.ClaimID(value), Shares: 1}
	}
	token := parseInt(f[3])
	return kindOf(f[2]), engine.Place{
		ID: engine.ClaimID(f[0]), Shares: 1, Token: engine.Token(token), Age: age(l.int(0), token), Note: []byte(f[7]),
	}
}

// placeOf reads a record of claims (lua/line.lua).
func placeOf(record string, now int64) engine.Place {
	f := strings.SplitN(record, " ", 7)
	if len(f) < 7 {
		return engine.Place{}
	}
	token := parseInt(f[1])
	return engine.Place{
		Shares: int(parseInt(f[0])), Token: engine.Token(token), Age: age(now, token), Note: []byte(f[6]),
	}
}

func parseInt(s string) int64 { n, _ := strconv.ParseInt(s, 10, 64); return n }

// age: tokens and places are the server's microseconds, as far as its clock rose.
func age(now, then int64) time.Duration {
	return max(time.Duration(now-then)*time.Microsecond, 1)
}

// namesPage is how many keys a step of a listing looks at.
const namesPage = "1000"

// Names walks the whole key space. A foreign lock cannot be told from any other
// string there, and is left out.
func (e *Engine) Names(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		seen := make(map[string]bool)
		for cursor := "0"; ; {
			names, next, err := e.namesPage(ctx, e.key(prefix), cursor)
			if err != nil {
				yield("", err)
				return
			}
			for _, key := range names {
				name, ours := strings.CutPrefix(key, e.prefix)
				if !ours || seen[name] {
					continue
				}
				seen[name] = true
				if !yield(name, nil) {
					return
				}
			}
			if cursor = next; cursor == "0" {
				return
			}
		}
	}
}

// namesPage is the names with claims among the next keys.
func (e *Engine) namesPage(ctx context.Context, prefix, cursor string) (names []string, next string, err error) {
	if e.isOver() {
		return nil, "", engine.ErrClosed
	}
	r := e.t.Do(ctx, Command{Args: []string{"SCAN", cursor, "MATCH", "*" + escapeGlob(prefix) + "*", "COUNT", namesPage}})[0]
	if r.Err != nil {
		return nil, "", e.explain(r.Err)
	}
	page := reply{r.Value}
	var candidates []string
	var looks []Command
	for i := range page.sub(1).len() {
		key := page.sub(1).text(i)
		if name, ok := keys.Of(key, "live"); ok {
			if strings.HasPrefix(name, prefix) {
				names = append(names, name)
			}
			continue
		}
		if strings.HasPrefix(key, prefix) && !strings.Contains(key, keys.Infix) {
			candidates = append(candidates, key)
			looks = append(looks, Command{Args: []string{"GETRANGE", key, "0", "80"}, FirstKey: 1})
		}
	}
	if len(looks) == 0 {
		return names, page.text(0), nil
	}
	for i, r := range e.t.Do(ctx, looks...) {
		if c := code(r.Err); c == "WRONGTYPE" || c == "NOPERM" { // not a lock, or not this user's business
			continue
		}
		if r.Err != nil {
			return nil, "", e.explain(r.Err)
		}
		if s, _ := r.Value.(string); strings.Contains(s, marker) {
			names = append(names, candidates[i])
		}
	}
	return names, page.text(0), nil
}

// marker follows the id in a value of ours.
const marker = ":lockstep1:"

// escapeGlob takes the meaning from what SCAN's patterns give one.
func escapeGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(s)
}
