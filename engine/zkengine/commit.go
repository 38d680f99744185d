package zkengine

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/lockstep-go/lockstep/engine"
)

// A commit is one transaction that is guarded by the map's log node, below
// .lockstep/maps: every commit writes it, on the version that was read before the
// entries were looked at. So commits of a map follow each other, and conditions are
// of one moment; a node's own version is no such guard, as it begins anew when the
// node is deleted and made again. The log node's mzxid is the commit's revision.
//
// A commit with an id makes a child of the log node named by it in the same
// transaction: a repeat finds it, and its czxid is what was answered. These are
// forgotten after an hour (sweep). The log node is a container: it goes with them.

// retention is for how long a commit's id is remembered.
const retention = time.Hour

func (s *store) log(m string) string { return s.e.paths.of(maps + "/" + escapeKey(m)) }

// Commit looks, and writes what it has seen to be right, until nothing has changed
// in between.
func (s *store) Commit(ctx context.Context, m string, tx engine.Tx) (engine.Revision, error) {
	if err := checkTx(tx); err != nil {
		return 0, err
	}
	if s.e.isOver() {
		return 0, engine.ErrClosed
	}
	end, err := s.turn(ctx, m)
	if err != nil {
		return 0, err
	}
	defer end()
	c := &commit{s: s, m: m, log: s.log(m), tx: tx}
	if tx.ID != "" {
		c.mark = c.log + "/tx-" + hex.EncodeToString([]byte(tx.ID))
	}
	for {
		r, done, err := c.try(ctx)
		if err != nil {
			return 0, err
		}
		if done {
			s.sweepSometimes()
			return r, nil
		}
		c.synced = false // somebody was faster, or what was read was old
	}
}

// commit is one commit under way.
type commit struct {
	s      *store
	m      string
	log    string
	mark   string // of its id; "": it has none
	tx     engine.Tx
	synced bool // what is read is no older than this try
}

// seen is what a try has looked at.
type seen struct {
	version int32           // of the log node
	last    engine.Revision // of the last commit
	done    *zk.Stat        // of the mark; nil: this commit has not been made
	nodes   map[string]*found
}

// found is a key's node; nil: there is none.
type found struct {
	stat  zk.Stat
	entry bool
	kept  bool // its keep child is there, and no other
	only  bool // it has no child but that
}

// try looks and commits once. Not done: look again.
func (c *commit) try(ctx context.Context) (engine.Revision, bool, error) {
	look, err := ask(ctx, c.s.e, c.look)
	switch {
	case err != nil:
		return 0, false, err
	case look.done != nil:
		return revision(look.done.Czxid), true, nil
	}
	if err := c.conditions(look); err != nil {
		if c.synced {
			return 0, false, err
		}
		c.synced = true // it may be true of an older state only
		look, err = ask(ctx, c.s.e, c.look)
		switch {
		case err != nil:
			return 0, false, err
		case look.done != nil:
			return revision(look.done.Czxid), true, nil
		}
		if err := c.conditions(look); err != nil {
			return 0, false, err
		}
	}
	ops, changes, err := c.operations(look)
	if err != nil {
		return 0, false, err
	}
	if !changes && c.mark == "" && c.synced {
		return look.last, true, nil
	}
	return c.write(ctx, look, ops)
}

// write commits. Its error is one of an unknown outcome, or a refusal for good.
func (c *commit) write(ctx context.Context, look seen, ops []any) (engine.Revision, bool, error) {
	type answer struct {
		results []zk.MultiResponse
		failed  int
	}
	a, err := ask(ctx, c.s.e, func() (answer, error) {
		results, failed, err := c.s.e.conn.multi(ops...)
		return answer{results, failed}, err
	})
	switch {
	case err == nil && a.results[0].Stat != nil:
		return revision(a.results[0].Stat.Mzxid), true, nil
	case err == nil: // nothing was changed but the mark: its own time is the answer
		return c.markedAt(ctx, look)
	case a.failed < 0:
		return 0, false, err
	case errors.Is(err, zk.ErrNoChildrenForEphemerals):
		return 0, false, &engine.MismatchError{Name: c.m, Detail: "a node that ends with a session is there; it can hold no map"}
	case errors.Is(err, zk.ErrNoNode), errors.Is(err, zk.ErrNodeExists), errors.Is(err, zk.ErrBadVersion), errors.Is(err, zk.ErrNotEmpty):
		return 0, false, c.prepare(ctx)
	}
	return 0, false, err
}

func (c *commit) markedAt(ctx context.Context, look seen) (engine.Revision, bool, error) {
	if c.mark == "" {
		return look.last, true, nil
	}
	stat, err := ask(ctx, c.s.e, func() (*zk.Stat, error) { return c.s.e.conn.exists(c.mark) })
	if err == nil && stat == nil {
		err = fmt.Errorf("zookeeper: the mark of a commit has gone: %s", c.mark)
	}
	if err != nil {
		return 0, false, err
	}
	return revision(stat.Czxid), true, nil
}

// prepare has the next try find the nodes that it needs. What it reads is no older than
// the transaction that was refused, which has its place among the others.
func (c *commit) prepare(ctx context.Context) error {
	conn := c.s.e.conn
	_, err := ask(ctx, c.s.e, func() (struct{}, error) {
		if err := conn.ensure(parent(c.log), false); err != nil {
			return struct{}{}, err
		}
		if err := conn.create(c.log, true); err != nil {
			return struct{}{}, err
		}
		if dir := c.s.e.paths.of(c.m); c.puts() {
			if err := conn.ensure(dir, false); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})
	return err
}

func (c *commit) puts() bool {
	for _, e := range c.tx.Put {
		if !e.Deleted {
			return true
		}
	}
	return false
}

// look reads the log node, and only then the nodes that the commit is about: what
// changes after that changes the log node, too.
func (c *commit) look() (seen, error) {
	conn := c.s.e.conn
	if c.synced {
		if err := conn.latest(); err != nil {
			return seen{}, err
		}
	}
	stat, err := conn.exists(c.log)
	if err != nil {
		return seen{}, err
	}
	l := seen{version: -2, nodes: make(map[string]*found)} // no node has this version
	if stat != nil {
		l.version, l.last = stat.Version, revision(stat.Mzxid)
	}
	keys := c.keys()
	nodes := make([]*found, len(keys))
	err = eachParallel(len(keys)+1, func(i int) (err error) {
		if i < len(keys) {
			nodes[i], err = c.find(keys[i])
		} else if c.mark != "" {
			l.done, err = conn.exists(c.mark)
		}
		return err
	})
	for i, k := range keys {
		l.nodes[k] = nodes[i]
	}
	return l, err
}

// keys are those that the commit reads or writes, each once, and the empty one, whose
// node is the map's.
func (c *commit) keys() []string {
	all := []string{""}
	known := map[string]bool{"": true}
	add := func(key string) {
		if !known[key] {
			known[key] = true
			all = append(all, key)
		}
	}
	for _, cond := range c.tx.If {
		add(cond.Key)
	}
	for _, e := range c.tx.Put {
		add(e.Key)
	}
	return all
}

// find reads what a node is. Data is read where its length does not tell, children
// where it is to be deleted.
func (c *commit) find(key string) (*found, error) {
	conn, path := c.s.e.conn, c.s.path(c.m, key)
	stat, err := conn.exists(path)
	if err != nil || stat == nil {
		return nil, err
	}
	f := &found{stat: *stat, entry: stat.EphemeralOwner == 0 && stat.DataLength > 0, only: stat.NumChildren == 0}
	if stat.DataLength == 0 && stat.Version > 0 {
		n, err := conn.get(path)
		if err != nil {
			return nil, absent(err)
		}
		f.stat, f.entry = n.stat, isEntry(n)
	}
	if stat.NumChildren == 1 && f.entry {
		all, err := conn.children(path)
		if err != nil {
			return nil, absent(err)
		}
		f.kept = len(all.names) == 1 && all.names[0] == keep
		f.only = f.kept
	}
	return f, nil
}

// conditions compares what was seen with what the commit wants.
func (c *commit) conditions(l seen) error {
	for _, cond := range c.tx.If {
		is := engine.Revision(0)
		if f := l.nodes[cond.Key]; f != nil && f.entry {
			is = revision(f.stat.Mzxid)
		}
		if is != cond.Revision {
			return fmt.Errorf("key %q of map %q is at revision %d, not %d: %w", cond.Key, c.m, is, cond.Revision, engine.ErrConflict)
		}
	}
	return nil
}

// operations is the transaction. Its first operation is about the log node.
func (c *commit) operations(l seen) (ops []any, changes bool, err error) {
	ops = []any{nil}
	if c.mark != "" {
		ops = append(ops, &zk.CreateRequest{Path: c.mark, Data: []byte{}, Acl: c.s.e.conn.acl})
	}
	made := int32(0)
	for _, e := range c.ordered() {
		f, path := l.nodes[e.Key], c.s.path(c.m, e.Key)
		switch {
		case e.Deleted && (f == nil || !f.entry):
			continue
		case e.Deleted:
			ops = append(ops, c.remove(path, f)...)
		case f == nil:
			made++
			ops = append(ops, c.make(path, e.Value)...)
		default:
			ops = append(ops, c.overwrite(path, f, e.Value)...)
		}
		changes = true
	}
	if dir := l.nodes[""]; dir != nil && made > 0 && dir.stat.NumChildren+made > maxKeys {
		return nil, false, fmt.Errorf("%w: map %q would have %d keys, the most is %d: ZooKeeper cannot list more in one piece",
			engine.ErrInvalid, c.m, dir.stat.NumChildren+made, maxKeys)
	}
	ops[0] = &zk.CheckVersionRequest{Path: c.log, Version: l.version}
	if changes {
		ops[0] = &zk.SetDataRequest{Path: c.log, Data: []byte{}, Version: l.version}
	}
	return ops, changes, nil
}

// ordered is what is put, the map's own node first: others are below it.
func (c *commit) ordered() []engine.Entry {
	all := make([]engine.Entry, 0, len(c.tx.Put))
	for _, own := range []bool{true, false} {
		for _, e := range c.tx.Put {
			if (e.Key == "" && !e.Deleted) == own {
				all = append(all, e)
			}
		}
	}
	return all
}

func (c *commit) make(path string, value []byte) []any {
	ops := []any{&zk.CreateRequest{Path: path, Data: bytesOf(value), Acl: c.s.e.conn.acl}}
	if len(value) == 0 {
		ops = append(ops, &zk.SetDataRequest{Path: path, Data: []byte{}, Version: -1})
	}
	return ops
}

func (c *commit) overwrite(path string, f *found, value []byte) []any {
	ops := []any{&zk.SetDataRequest{Path: path, Data: bytesOf(value), Version: f.stat.Version}}
	if !f.entry {
		ops = append(ops, &zk.CreateRequest{Path: path + "/" + keep, Data: []byte{}, Acl: c.s.e.conn.acl})
	}
	return ops
}

// remove deletes the node, or only its data where there is something below it.
func (c *commit) remove(path string, f *found) []any {
	var ops []any
	if f.kept {
		ops = append(ops, &zk.DeleteRequest{Path: path + "/" + keep, Version: -1})
	}
	if f.only {
		return append(ops, &zk.DeleteRequest{Path: path, Version: f.stat.Version})
	}
	return append(ops, &zk.SetDataRequest{Path: path, Data: nil, Version: f.stat.Version})
}
