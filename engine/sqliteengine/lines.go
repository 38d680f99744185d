package sqliteengine

import (
	"context"
	"iter"
	"strings"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// Line is the present line of a name, without the dead.
func (e *Engine) Line(ctx context.Context, name string) (engine.Line, error) {
	line, _, err := e.line(ctx, name)
	return line, err
}

// line also says when the first term in it is over; 0: there is none.
func (e *Engine) line(ctx context.Context, name string) (line engine.Line, ends int64, err error) {
	err = e.bulk.single(ctx, func(c *conn) (err error) {
		line, ends, err = e.readLine(c, name, e.aliveOnce())
		return err
	})
	if err != nil {
		return engine.Line{}, 0, err
	}
	return line, ends, nil
}

// aliveOnce is isAlive for one listing: it asks about each session once.
func (e *Engine) aliveOnce() func(int64) bool {
	known := map[int64]bool{0: true}
	return func(id int64) bool {
		alive, ok := known[id]
		if !ok {
			alive = e.isAlive(id)
			known[id] = alive
		}
		return alive
	}
}

func (e *Engine) readLine(c *conn, name string, alive func(int64) bool) (line engine.Line, ends int64, err error) {
	line.Name = name
	now := e.clock.mono()
	for r, err := range c.query(`SELECT id, kind, shares, lim, session, token, since, ends, note FROM claims
		WHERE name >= ?1 AND name <= ?1 ORDER BY name, seq`, name) {
		if err != nil {
			return engine.Line{}, 0, err
		}
		until := r.int(7)
		if until > 0 && until <= now || !alive(r.int(4)) {
			continue
		}
		if until > 0 && (ends == 0 || until < ends) {
			ends = until
		}
		line.Kind, line.Limit = engine.Kind(r.int(1)), int(r.int(3))
		p := engine.Place{
			ID: engine.ClaimID(r.text(0)), Shares: int(r.int(2)), Token: engine.Token(r.int(5)),
			Age: time.Duration(max(now-r.int(6), 1)), Note: r.blob(8),
		}
		if p.Token > 0 {
			line.Holders = append(line.Holders, p)
		} else {
			line.Waiters = append(line.Waiters, p)
		}
	}
	return line, ends, nil
}

// namesPage is how many claims a listing of names reads at once.
const namesPage = 512

// Names yields the names with a claim that begin with prefix, in byte order.
func (e *Engine) Names(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		alive := e.aliveOnce()
		for from, more := prefix, true; more; {
			var page []string
			err := e.bulk.single(ctx, func(c *conn) (err error) {
				page, from, more, err = e.namesPage(c, prefix, from, alive)
				return err
			})
			if err != nil {
				yield("", err)
				return
			}
			for _, name := range page {
				if !yield(name, nil) {
					return
				}
			}
		}
	}
}

// namesPage is the names from `from` on, and from where to go on. A name whose
// claims fill a page is looked at as a whole: pages end between names.
func (e *Engine) namesPage(c *conn, prefix, from string, alive func(int64) bool) (page []string, next string, more bool, err error) {
	now, n, last := e.clock.mono(), 0, ""
	for r, err := range c.query("SELECT name, session, ends FROM claims WHERE name >= ? AND name > '' ORDER BY name, seq", from) {
		if err != nil {
			return nil, "", false, err
		}
		name := r.text(0)
		if !strings.HasPrefix(name, prefix) {
			return page, "", false, nil
		}
		if n++; n > namesPage && name != last {
			return page, name, true, nil
		}
		last = name
		if ends := r.int(2); ends > 0 && ends <= now || !alive(r.int(1)) {
			continue
		}
		if len(page) == 0 || page[len(page)-1] != name {
			page = append(page, name)
		}
	}
	return page, "", false, nil
}

// WatchLine yields the line now, and again when it has changed; lines in between
// may be merged.
func (e *Engine) WatchLine(ctx context.Context, name string) iter.Seq2[engine.Line, error] {
	return func(yield func(engine.Line, error) bool) {
		w, err := e.wait.watch(ctx, lineTopic(name))
		if err != nil {
			yield(engine.Line{}, err)
			return
		}
		defer e.wait.unwatch(ctx, w)
		var last engine.Line
		for first := true; ; first = false {
			line, ends, err := e.line(ctx, name)
			if err != nil {
				yield(engine.Line{}, err)
				return
			}
			if first || !line.Same(last) {
				if !yield(line, nil) {
					return
				}
				last = line
			}
			if err := w.sleep(ctx, e.untilMono(ends)); err != nil {
				yield(engine.Line{}, err)
				return
			}
		}
	}
}

// untilMono is how long it is until a time of the clock; 0: for ever.
func (e *Engine) untilMono(at int64) time.Duration {
	if at == 0 {
		return 0
	}
	return max(time.Duration(at-e.clock.mono()), time.Millisecond)
}
