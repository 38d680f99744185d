package zkengine

import (
	"context"
	"errors"
	"iter"
	"strings"
	"sync"

	"github.com/go-zookeeper/zk"

	"github.com/lockstep-go/lockstep/engine"
)

// Line is the present line of a name: one list of children, and a read for each claim
// in it.
func (e *Engine) Line(ctx context.Context, name string) (engine.Line, error) {
	r := newLineReader(e, name, false)
	if err := e.latest(ctx); err != nil {
		return engine.Line{}, err
	}
	return r.read(ctx)
}

// WatchLine yields the line after each change of it. A broken connection ends it.
func (e *Engine) WatchLine(ctx context.Context, name string) iter.Seq2[engine.Line, error] {
	return func(yield func(engine.Line, error) bool) {
		if e.isOver() {
			yield(engine.Line{}, engine.ErrClosed)
			return
		}
		r := newLineReader(e, name, true)
		defer r.close()
		err := r.follow(ctx, func(l engine.Line) bool { return yield(l, nil) })
		if !errors.Is(err, errStopped) {
			yield(engine.Line{}, e.orClosed(err))
		}
	}
}

// lineReader is a line as it was last read.
type lineReader struct {
	e     *Engine
	name  string
	dir   string
	watch bool
	woken chan struct{}
	nodes map[string]node // of each claim's first node, as it was read

	mu      sync.Mutex
	changed map[string]bool // first nodes that are to be read again
}

func newLineReader(e *Engine, name string, watch bool) *lineReader {
	r := &lineReader{
		e: e, name: name, dir: e.paths.of(name), watch: watch, woken: make(chan struct{}, 1),
		nodes: make(map[string]node), changed: make(map[string]bool),
	}
	if watch {
		e.conn.tap.listen(r.dir, r)
	}
	return r
}

func (r *lineReader) event(ev zk.Event) {
	r.mu.Lock()
	if ev.Path != r.dir {
		r.changed[base(ev.Path)] = true
	}
	r.mu.Unlock()
	select {
	case r.woken <- struct{}{}:
	default:
	}
}

func (r *lineReader) close() {
	for name := range r.nodes {
		r.e.conn.tap.unlisten(r.dir+"/"+name, r)
	}
	r.e.conn.tap.unlisten(r.dir, r)
}

func (r *lineReader) follow(ctx context.Context, yield func(engine.Line) bool) error {
	conn := r.e.conn
	if err := r.e.latest(ctx); err != nil {
		return err
	}
	_, link := conn.tap.now()
	if link == nil {
		return errLink
	}
	var last engine.Line
	for first := true; ; {
		l, err := r.read(ctx)
		if err != nil {
			return err
		}
		if _, now := conn.tap.now(); now != link {
			return errLink
		}
		if first || !l.Same(last) {
			if !yield(l) {
				return errStopped
			}
			first, last = false, l
		}
		select {
		case <-r.woken:
		case <-link.gone:
			return errLink
		case <-ctx.Done():
			return ctx.Err()
		case <-r.e.ctx.Done():
			return engine.ErrClosed
		}
	}
}

// read reads the line, and of each claim what is not known yet or has changed.
func (r *lineReader) read(ctx context.Context) (engine.Line, error) {
	all, err := ask(ctx, r.e, r.list)
	if err != nil {
		return engine.Line{}, err
	}
	line := parseLine(all.names)
	if err := r.load(ctx, line); err != nil {
		return engine.Line{}, err
	}
	l := engine.Line{Name: r.name}
	l.Kind, l.Limit = kindOf(line)
	n := holders(line)
	for i, c := range line {
		node, ok := r.nodes[c.name]
		switch {
		case !ok: // it went while the others were read
		case i < n:
			l.Holders = append(l.Holders, c.seen(node, true))
		default:
			l.Waiters = append(l.Waiters, c.seen(node, false))
		}
	}
	return l, nil
}

func (r *lineReader) list() (all children, err error) {
	conn := r.e.conn
	for {
		if r.watch {
			all, err = conn.childrenW(r.dir)
		} else {
			all, err = conn.children(r.dir)
		}
		if !errors.Is(err, zk.ErrNoNode) {
			return all, explain(err)
		}
		if !r.watch {
			return children{}, nil
		}
		if stat, err := conn.existsW(r.dir); err != nil || stat == nil {
			return children{}, explain(err)
		}
	}
}

func (r *lineReader) load(ctx context.Context, line []claim) error {
	present := make(map[string]bool, len(line))
	var todo []string
	r.mu.Lock()
	for _, c := range line {
		present[c.name] = true
		if _, known := r.nodes[c.name]; !known || r.changed[c.name] {
			todo = append(todo, c.name)
		}
		delete(r.changed, c.name)
	}
	r.mu.Unlock()
	for name := range r.nodes {
		if !present[name] {
			delete(r.nodes, name)
			if r.watch {
				r.e.conn.tap.unlisten(r.dir+"/"+name, r)
			}
		}
	}
	if r.watch {
		for _, name := range todo {
			r.e.conn.tap.listen(r.dir+"/"+name, r)
		}
	}
	found := make([]*node, len(todo))
	_, err := ask(ctx, r.e, func() (struct{}, error) {
		return struct{}{}, eachParallel(len(todo), func(i int) error {
			n, err := r.get(todo[i])
			if err == nil {
				found[i] = &n
			}
			return explain(absent(err))
		})
	})
	if err != nil {
		return err // what was begun may not have ended
	}
	for i, name := range todo {
		if found[i] != nil {
			r.nodes[name] = *found[i]
		} else if r.watch {
			r.e.conn.tap.unlisten(r.dir+"/"+name, r)
		}
	}
	return nil
}

func (r *lineReader) get(name string) (node, error) {
	if path := r.dir + "/" + name; r.watch {
		return r.e.conn.getW(path)
	}
	return r.e.conn.get(r.dir + "/" + name)
}

// Names walks the tree below the root, and below what the prefix names of it.
func (e *Engine) Names(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		prefix := strings.TrimPrefix(prefix, "/")
		from := e.paths.top()
		if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
			from = e.paths.of(prefix[:i])
		}
		for level := []string{from}; len(level) > 0; {
			names, next, err := e.namesIn(ctx, level, prefix)
			if err != nil {
				yield("", err)
				return
			}
			for _, name := range names {
				if !yield(name, nil) {
					return
				}
			}
			level = next
		}
	}
}

// namesIn is which of the paths are names with claims, and what is below all of them.
func (e *Engine) namesIn(ctx context.Context, level []string, prefix string) (names, next []string, err error) {
	lists := make([]children, len(level))
	_, err = ask(ctx, e, func() (struct{}, error) {
		return struct{}{}, eachParallel(len(level), func(i int) (err error) {
			lists[i], err = e.conn.children(level[i])
			if errors.Is(err, zk.ErrNoAuth) {
				return nil // not this user's business
			}
			return explain(absent(err))
		})
	})
	if err != nil {
		return nil, nil, err
	}
	for i, path := range level {
		claims := false
		for _, child := range lists[i].names {
			if _, ok := parseNode(child); ok {
				claims = true
				continue
			}
			if name := e.nameOf(strings.TrimSuffix(path, "/") + "/" + child); related(name, prefix) {
				next = append(next, e.paths.of(name))
			}
		}
		if name := e.nameOf(path); claims && name != "" && strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names, next, nil
}

// related says whether a path may be, or hold, a name with the prefix.
func related(name, prefix string) bool {
	first, _, _ := strings.Cut(name, "/")
	return first != own && base(name) != keep && (strings.HasPrefix(name, prefix) || strings.HasPrefix(prefix, name+"/"))
}

func (e *Engine) nameOf(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, e.paths.root), "/")
}
