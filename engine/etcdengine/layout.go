package etcdengine

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockstep-go/lockstep/engine"
)

// The keys of a name, each behind the engine's prefix:
//
//	NAME/<lease>                   a foreign claim (concurrency.Mutex, etcdctl lock)
//	NAME/<lease>-<id>.<shape>      an election's claim of ours, one of a group or of
//	                               a fixed term; its value is its note
//	NAME/<lease>-<seat>.<shape>    another claim of ours; its value is its id, and in
//	                               the next line its note (seats.go)
//	NAME, NAME/<key>               entries of the map
//	.lockstep/v1/sessions/<lease>  a session; its end is seen by watching this key
//	.lockstep/v1/tokens/NAME/<lease>-<id>.<shape>
//	                               its revision is the token of an election's holder
//	.lockstep/v1/commits/…         what was committed under an id
//
// <lease> is the session's lease in lower-case hexadecimal, as foreign clients write
// it. The shape is the claim's kind as a letter, the layout's version, t for a fixed
// term and, for semaphores, -shares-limit: m1, e1t, s1-2-5. What key and value say of
// a claim, but for its note, never changes, so that a request which is repeated finds
// its own.

const (
	ownRoot       = ".lockstep/v1/"
	layoutVersion = 1
)

// contender is one claim in a line.
type contender struct {
	rest    string // its key without NAME/
	shape   shape
	seat    string
	id      engine.ClaimID // "": not known by the key alone
	session string         // the session's lease, hexadecimal
	created int64          // the revision that made its key: its place
	lease   int64          // that its key is bound to
	note    []byte
}

// shape is how a claim takes part.
type shape struct {
	kind    engine.Kind // 0: a foreign claim
	version int
	term    bool
	shares  int
	limit   int
}

var letters = map[engine.Kind]string{engine.Mutex: "m", engine.Election: "e", engine.Semaphore: "s", engine.Group: "g"}

// shapeOf refuses claims that this layout has no shape for.
func shapeOf(c *engine.Claim) (shape, error) {
	s := shape{kind: c.Kind, version: layoutVersion, term: c.Term > 0, shares: c.Shares, limit: c.Limit}
	fixed, ok := fixedShape(s.letter())
	if c.Kind != engine.Semaphore && (!ok || fixed.shares != c.Shares || fixed.limit != c.Limit) {
		return s, fmt.Errorf("%w: %v of %d shares of %d", engine.ErrInvalid, c.Kind, c.Shares, c.Limit)
	}
	if strings.ContainsFunc(string(c.ID), func(r rune) bool { return r == '/' || r < ' ' }) {
		return s, fmt.Errorf("%w: a claim's id with a slash or a control character", engine.ErrInvalid)
	}
	return s, nil
}

// reseats: claims of this shape use keys again. The value of an election's is what
// etcdctl elect prints, members stay for long, and a term's key has a lease of its own.
func (s shape) reseats() bool {
	switch s.kind {
	case engine.Mutex, engine.ReadWrite, engine.Semaphore:
		return !s.term
	}
	return false
}

// value is what stands in a claim's key.
func (s shape) value(id engine.ClaimID, note []byte) string {
	if s.reseats() {
		return string(id) + "\n" + string(note)
	}
	return string(note)
}

// holdsID: the key is the claim's, whatever its note. Its value is between those that
// end before and behind the line feed, and no id has either.
func (s shape) holdsID(key string, id engine.ClaimID) []*pb.Compare {
	if !s.reseats() {
		return nil
	}
	return []*pb.Compare{
		compareValue(key, pb.Compare_GREATER, string(id)+"\t"),
		compareValue(key, pb.Compare_LESS, string(id)+"\v"),
	}
}

func (s shape) letter() string {
	if s.kind == engine.ReadWrite {
		if s.shares == 1 {
			return "r"
		}
		return "w"
	}
	return letters[s.kind]
}

// fixedShape is the shape that a letter alone tells.
func fixedShape(letter string) (shape, bool) {
	switch letter {
	case "m":
		return shape{kind: engine.Mutex, shares: 1, limit: 1}, true
	case "e":
		return shape{kind: engine.Election, shares: 1, limit: 1}, true
	case "r":
		return shape{kind: engine.ReadWrite, shares: 1, limit: engine.Unlimited}, true
	case "w":
		return shape{kind: engine.ReadWrite, shares: engine.Unlimited, limit: engine.Unlimited}, true
	case "g":
		return shape{kind: engine.Group, shares: 1, limit: engine.Unlimited}, true
	case "s":
		return shape{kind: engine.Semaphore}, true
	}
	return shape{}, false
}

func (s shape) String() string {
	text := s.letter() + strconv.Itoa(s.version)
	if s.term {
		text += "t"
	}
	if s.kind == engine.Semaphore {
		text += "-" + strconv.Itoa(s.shares) + "-" + strconv.Itoa(s.limit)
	}
	return text
}

// parseShape reads the shapes of all versions; of a newer one only that it is.
func parseShape(text string) (shape, bool) {
	if text == "" {
		return shape{}, false
	}
	s, known := fixedShape(text[:1])
	digits := text[1:]
	if i := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		digits = digits[:i]
	}
	version, err := strconv.Atoi(digits)
	if err != nil || version < 1 {
		return shape{}, false
	}
	s.version = version
	if version > layoutVersion {
		return s, true
	}
	after, term := strings.CutPrefix(text[1+len(digits):], "t")
	s.term = term
	if s.kind == engine.Semaphore {
		var ok bool
		if s.shares, s.limit, ok = parseShares(after); !ok {
			return shape{}, false
		}
		after = ""
	}
	return s, known && after == ""
}

// parseShares reads -shares-limit.
func parseShares(text string) (shares, limit int, ok bool) {
	one, other, _ := strings.Cut(strings.TrimPrefix(text, "-"), "-")
	shares, err1 := strconv.Atoi(one)
	limit, err2 := strconv.Atoi(other)
	return shares, limit, err1 == nil && err2 == nil && shares >= 1 && shares <= limit && limit <= engine.Unlimited
}

// parseRest reads the last part of a key of ours.
func parseRest(rest string) (contender, bool) {
	lease, after, found := strings.Cut(rest, "-")
	dot := strings.LastIndexByte(after, '.')
	if !found || dot < 1 || !isLease(lease) || strings.ContainsRune(rest, '/') {
		return contender{}, false
	}
	s, ok := parseShape(after[dot+1:])
	c := contender{rest: rest, shape: s, seat: after[:dot], session: lease}
	if !s.reseats() {
		c.id = engine.ClaimID(c.seat)
	}
	return c, ok
}

// isLease reports whether text is how clients write a lease's id.
func isLease(text string) bool {
	if text == "" || len(text) > 16 {
		return false
	}
	for _, r := range text {
		if (r < '0' || r > '9') && (r < 'a' || r > 'f') {
			return false
		}
	}
	return true
}

// contenderOf reads a key that may be a claim; rest is its last part. What is bound to
// no lease is an entry, whatever it looks like.
func contenderOf(kv *mvccpb.KeyValue, rest string) (contender, bool) {
	if kv.GetLease() == 0 {
		return contender{}, false
	}
	lease := leaseText(kv.GetLease())
	c := contender{rest: rest, id: engine.ClaimID(rest), session: lease, shape: shape{version: layoutVersion, shares: 1, limit: 1}}
	if rest != lease {
		var ok bool
		if c, ok = parseRest(rest); !ok || c.session != lease && !c.shape.term {
			return contender{}, false
		}
	}
	c.created, c.lease, c.note = kv.GetCreateRevision(), kv.GetLease(), kv.GetValue()
	if c.id == "" {
		id, note, _ := bytes.Cut(kv.GetValue(), []byte("\n"))
		c.id, c.note = engine.ClaimID(id), note
	}
	return c, true
}

func (c contender) foreign() bool { return c.shape.kind == 0 }

func leaseText(id int64) string { return strconv.FormatInt(id, 16) }

func lastPart(key string) string { return key[strings.LastIndexByte(key, '/')+1:] }

// dir is what the keys of a name's claims begin with.
func (e *Engine) dir(name string) string { return e.prefix + name + "/" }

// The keys of claims begin with a hexadecimal digit, so that most of a map beside
// them is not looked at.
func firstKey(dir string) string { return dir + "0" }
func endKey(dir string) string   { return dir + "g" }

// inLine is a request for a name's claims, and whatever else is in their range.
func inLine(dir string, opts ...clientv3.OpOption) clientv3.Op {
	return clientv3.OpGet(firstKey(dir), append([]clientv3.OpOption{clientv3.WithRange(endKey(dir))}, opts...)...)
}

// How inLine is asked: in what order, and how much of each key.
var (
	byCreation = clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend)
	keysOnly   = clientv3.WithKeysOnly()
)

// contenders are the claims among what inLine found, in its order.
func contenders(dir string, kvs []*mvccpb.KeyValue) []contender {
	var all []contender
	for _, kv := range kvs {
		if c, ok := contenderOf(kv, string(kv.GetKey()[len(dir):])); ok {
			all = append(all, c)
		}
	}
	return all
}

// fromKeys is contenders where only keys were asked for. Since 3.7 these come from an
// index that knows no leases, and faster. Claims of ours are known by their form all
// the same; whether a key that looks like a lease's id is a foreign claim is not: then
// sure is false, and it takes the whole keys to tell.
func fromKeys(dir string, kvs []*mvccpb.KeyValue) (all []contender, sure bool) {
	for _, kv := range kvs {
		rest := string(kv.GetKey()[len(dir):])
		if kv.GetLease() == 0 && isLease(rest) {
			return nil, false
		}
		c, ok := contenderOf(kv, rest)
		if kv.GetLease() == 0 {
			c, ok = parseRest(rest)
			c.created = kv.GetCreateRevision()
		}
		if ok {
			all = append(all, c)
		}
	}
	return all, true
}

// restOf is the last part of the claim's key.
func (s *Session) restOf(c *engine.Claim, sh shape) string { return s.restAt(s.seats.of(c), sh) }

func (s *Session) restAt(seat string, sh shape) string {
	return s.hex + "-" + seat + "." + sh.String()
}

func (e *Engine) tokenKey(name, rest string) string { return e.own("tokens", name, rest) }
func (e *Engine) sessionKey(lease string) string    { return e.own("sessions", lease) }
