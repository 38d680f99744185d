package lockstep

import (
	"hash/maphash"
	"iter"
	"math/bits"
	"slices"
)

// A map's copy is a trie over the hashes of its keys that is never changed once
// it was shown: a change copies the branches on the way to its key and shares the
// rest. So any number of readers look things up in one state of the map, each for
// as long as it likes, without a lock and without allocating anything (P. Bagwell,
// "Ideal Hash Trees", 2001).

// trie is one state of a map.
type trie struct {
	root  *branch
	n     int   // entries
	owner *edit // of branches that nobody else has seen
}

// edit marks the branches that were made since the trie was last shown: they may
// be changed in place.
type edit struct{ _ byte }

const (
	trieBits = 4 // of the hash, for each step down
	trieMask = 1<<trieBits - 1
)

type branch struct {
	owner *edit
	have  uint16 // a bit for each slot that is there
	slots []slot // in the order of their bits
}

// slot has one of the two.
type slot struct {
	leaf   *leaf
	branch *branch
}

type leaf struct {
	Entry

	hash uint64
	next *leaf // another key with the same hash
}

var trieSeed = maphash.MakeSeed()

func hashOf(key string) uint64 { return maphash.String(trieSeed, key) }

// changed is the trie for who wants to change it; the one it came from stays as
// it is.
func (t *trie) changed() trie {
	return trie{root: t.root, n: t.n, owner: new(edit)}
}

// get is the entry with this key, nil where there is none. It is not to be changed.
func (t *trie) get(key string) *Entry {
	hash := hashOf(key)
	for b, rest := t.root, hash; b != nil; rest >>= trieBits {
		bit := uint16(1) << (rest & trieMask)
		if b.have&bit == 0 {
			return nil
		}
		s := &b.slots[bits.OnesCount16(b.have&(bit-1))]
		for l := s.leaf; l != nil; l = l.next {
			if l.Key == key {
				return &l.Entry
			}
		}
		b = s.branch
	}
	return nil
}

// all yields the entries in no order.
func (t *trie) all() iter.Seq[*Entry] {
	return func(yield func(*Entry) bool) {
		if t.root != nil {
			t.root.each(yield)
		}
	}
}

func (b *branch) each(yield func(*Entry) bool) bool {
	for _, s := range b.slots {
		if s.branch != nil && !s.branch.each(yield) {
			return false
		}
		for l := s.leaf; l != nil; l = l.next {
			if !yield(&l.Entry) {
				return false
			}
		}
	}
	return true
}

// put is for the owner.
func (t *trie) put(e Entry) {
	if t.root == nil {
		t.root = &branch{owner: t.owner}
	}
	var added bool
	t.root, added = t.root.put(t.owner, &leaf{Entry: e, hash: hashOf(e.Key)}, 0)
	if added {
		t.n++
	}
}

func (b *branch) put(owner *edit, l *leaf, depth uint) (_ *branch, added bool) {
	b = b.owned(owner)
	bit := uint16(1) << (l.hash >> depth & trieMask)
	at := bits.OnesCount16(b.have & (bit - 1))
	if b.have&bit == 0 {
		b.have |= bit
		b.slots = slices.Insert(b.slots, at, slot{leaf: l})
		return b, true
	}
	s := &b.slots[at]
	switch {
	case s.branch != nil:
		s.branch, added = s.branch.put(owner, l, depth+trieBits)
	case s.leaf.hash == l.hash:
		before := s.leaf.length()
		l.next = s.leaf.without(l.Key)
		s.leaf, added = l, l.length() > before
	default: // two hashes that part further down
		below := &branch{owner: owner}
		below, _ = below.put(owner, s.leaf, depth+trieBits)
		below, added = below.put(owner, l, depth+trieBits)
		*s = slot{branch: below}
	}
	return b, added
}

// remove is for the owner.
func (t *trie) remove(key string) {
	if t.get(key) == nil {
		return
	}
	t.n--
	if t.root = t.root.remove(t.owner, key, hashOf(key), 0); len(t.root.slots) == 0 {
		t.root = nil
	}
}

// remove takes out a key that is there. A branch with nothing but one leaf left
// becomes that leaf, one step up.
func (b *branch) remove(owner *edit, key string, hash uint64, depth uint) *branch {
	b = b.owned(owner)
	bit := uint16(1) << (hash >> depth & trieMask)
	at := bits.OnesCount16(b.have & (bit - 1))
	s := &b.slots[at]
	if s.branch == nil {
		s.leaf = s.leaf.without(key)
	} else {
		below := s.branch.remove(owner, key, hash, depth+trieBits)
		if s.branch = below; len(below.slots) == 1 && below.slots[0].leaf != nil {
			*s = below.slots[0]
		}
	}
	if s.branch == nil && s.leaf == nil {
		b.have &^= bit
		b.slots = slices.Delete(b.slots, at, at+1)
	}
	return b
}

// owned is the branch, or a copy that may be changed.
func (b *branch) owned(owner *edit) *branch {
	if b.owner == owner {
		return b
	}
	return &branch{owner: owner, have: b.have, slots: slices.Clone(b.slots)}
}

func (l *leaf) length() (n int) {
	for ; l != nil; l = l.next {
		n++
	}
	return n
}

// without is the chain without a key; leaves are shared, so they are never changed.
func (l *leaf) without(key string) *leaf {
	switch {
	case l == nil:
		return nil
	case l.Key == key:
		return l.next
	}
	rest := l.next.without(key)
	if rest == l.next {
		return l
	}
	return &leaf{Entry: l.Entry, hash: l.hash, next: rest}
}
