package zkengine

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lockstep-go/lockstep/engine"
)

// A claim is one or two nodes under the path of its name. Whatever others' locks
// have to see is in the node's name, and all that is needed to grant is, so that one
// list of children tells the whole line.
//
//	mutex      _c_ID-m-lstep-1-lock-N    _k_ID-m-lstep-1__lock__N+1
//	election   _c_ID-e-lstep-1-lock-N    _k_ID-e-lstep-1__lock__N+1
//	writer     _c_ID-w-lstep-1-__WRIT__N _k_ID-w-lstep-1__lock__N+1
//	reader     _c_ID-r-lstep-1-__READ__N _k_ID-r-lstep-1__rlock__N+1
//	semaphore  _l_ID-s-lstep-1-SHARES-LIMIT-N
//	group      _l_ID-g-lstep-1-N
//
// ID is the claim's, 26 characters; with what follows it is as long as the UUID that
// others have there. The last character before the marker is the layout's version. N
// is ZooKeeper's number: ten digits, wrapping to negative ones.
//
// The first node of a pair is what Curator and go-zookeeper understand, the second
// what kazoo does. No single name satisfies both (Curator compares what follows its
// marker, and a name that has both markers sorts wrongly in one of them). Both are made
// in one transaction, so their numbers are neighbours; a claim stands where its first
// node does.
const (
	idLength = 26
	layout   = "-lstep-1"

	curatorPrefix = "_c_"
	kazooPrefix   = "_k_"
	ownPrefix     = "_l_"

	curatorLock = "-lock-"
	curatorRead = "__READ__"
	curatorWrit = "__WRIT__"
	kazooLock   = "__lock__"
	kazooRead   = "__rlock__"
)

// family is who may stand in one line with whom: the layout of others does not tell
// a mutex from an election, nor kazoo's from a writer of its read-write lock.
type family uint8

const (
	exclusive family = 1 << iota // mutex, election
	readWrite
	shared // semaphore, group: Lockstep's alone
)

// letters are how a node says what it is.
var letters = map[byte]struct {
	kind engine.Kind
	fam  family
}{
	'm': {engine.Mutex, exclusive}, 'e': {engine.Election, exclusive},
	'w': {engine.ReadWrite, readWrite}, 'r': {engine.ReadWrite, readWrite},
	's': {engine.Semaphore, shared}, 'g': {engine.Group, shared},
}

func letterOf(c *engine.Claim) byte {
	switch c.Kind {
	case engine.Mutex:
		return 'm'
	case engine.Election:
		return 'e'
	case engine.Semaphore:
		return 's'
	case engine.Group:
		return 'g'
	}
	if c.Shares == c.Limit {
		return 'w'
	}
	return 'r'
}

// nodesOf are the names of a claim's nodes, without their numbers.
func nodesOf(c *engine.Claim) []string {
	letter := letterOf(c)
	id := string(c.ID) + "-" + string(letter) + layout
	switch letter {
	case 'w':
		return []string{curatorPrefix + id + "-" + curatorWrit, kazooPrefix + id + kazooLock}
	case 'r':
		return []string{curatorPrefix + id + "-" + curatorRead, kazooPrefix + id + kazooRead}
	case 's':
		return []string{fmt.Sprintf("%s%s-%d-%d-", ownPrefix, id, c.Shares, c.Limit)}
	case 'g':
		return []string{ownPrefix + id + "-"}
	}
	return []string{curatorPrefix + id + curatorLock, kazooPrefix + id + kazooLock}
}

// checkClaim refuses what the layout cannot carry.
func checkClaim(c *engine.Claim) error {
	if err := c.Check(); err != nil {
		return err
	}
	if len(c.ID) != idLength || strings.IndexFunc(string(c.ID), notInID) >= 0 {
		return fmt.Errorf("%w: claim id %q: ZooKeeper: %d letters and digits", engine.ErrInvalid, c.ID, idLength)
	}
	if c.Term > 0 {
		return fmt.Errorf("%w: ZooKeeper has no fixed terms: what it ends by itself ends with a session", engine.ErrUnsupported)
	}
	if c.Kind == engine.ReadWrite && c.Shares != 1 && c.Shares != c.Limit {
		return fmt.Errorf("%w: ZooKeeper: a read-write lock takes one share or all", engine.ErrInvalid)
	}
	return nil
}

func notInID(r rune) bool {
	return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

// contender is one node that stands in a line.
type contender struct {
	name   string
	number int32
	id     engine.ClaimID // of ours; "": another program's
	letter byte           // of ours
	fam    family
	reads  bool // wants to share with other readers
	shares int
	limit  int
	newer  bool // of a layout that this program does not know
}

// parseNode reads a child's name; false: it is no contender, and disturbs nothing.
func parseNode(name string) (contender, bool) {
	if c, ok := parseOwn(name); ok {
		return c, true
	}
	for _, m := range []struct {
		marker string
		fam    family
		reads  bool
	}{
		{kazooRead, readWrite, true},
		{kazooLock, exclusive | readWrite, false},
		{curatorRead, readWrite, true},
		{curatorWrit, readWrite, false},
		{curatorLock[1:], exclusive, false}, // "lock-": without Curator's protection the name begins with it
	} {
		if number, ok := numberAfter(name, m.marker); ok {
			return contender{name: name, number: number, fam: m.fam, reads: m.reads, shares: 1, limit: 1}, true
		}
	}
	return contender{}, false
}

// numberAfter is the number that follows the last marker to the name's end. It is
// not looked for from the end: in "-lock-0000000003" that finds -3.
func numberAfter(name, marker string) (int32, bool) {
	i := strings.LastIndex(name, marker)
	if i < 0 {
		return 0, false
	}
	return number(name[i+len(marker):])
}

// number is ten digits or more, with a minus for what has wrapped around.
func number(digits string) (int32, bool) {
	if len(digits) < 10 || digits[0] == '+' {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	return int32(n), err == nil
}

// parseOwn reads a node of Lockstep's.
func parseOwn(name string) (contender, bool) {
	if len(name) < 3 || name[:3] != curatorPrefix && name[:3] != kazooPrefix && name[:3] != ownPrefix {
		return contender{}, false
	}
	rest := name[3:]
	// ID-x-lstep-1
	if len(rest) < idLength+2+len(layout) || rest[idLength] != '-' || rest[idLength+2:idLength+1+len(layout)] != layout[:len(layout)-1] {
		return contender{}, false
	}
	id, letter, version := rest[:idLength], rest[idLength+1], rest[idLength+1+len(layout)]
	if strings.IndexFunc(id, notInID) >= 0 {
		return contender{}, false
	}
	rest = rest[idLength+2+len(layout):]
	c := contender{name: name, id: engine.ClaimID(id), letter: letter, shares: 1, limit: 1}
	known, ok := letters[letter]
	c.fam = known.fam
	c.newer = !ok || version != layout[len(layout)-1]
	if name[:3] == ownPrefix {
		return c.ownNumber(rest)
	}
	for _, marker := range []string{curatorLock, "-" + curatorWrit, "-" + curatorRead, kazooLock, kazooRead} {
		if digits, ok := strings.CutPrefix(rest, marker); ok {
			c.number, ok = number(digits)
			c.reads = letter == 'r'
			if c.fam == readWrite {
				c.limit = engine.Unlimited
				if !c.reads {
					c.shares = engine.Unlimited
				}
			}
			return c, ok
		}
	}
	return contender{}, false
}

// ownNumber reads what follows the layout in a node of Lockstep's alone: a
// semaphore's shares and limit, and the number.
func (c contender) ownNumber(rest string) (contender, bool) {
	fields := strings.SplitN(strings.TrimPrefix(rest, "-"), "-", 3)
	if c.newer { // whatever it says, it stands in the line
		c.number, _ = number(fields[len(fields)-1])
		return c, true
	}
	if c.letter == 'g' {
		c.limit = engine.Unlimited
		n, ok := number(strings.TrimPrefix(rest, "-"))
		c.number = n
		return c, ok
	}
	if len(fields) < 3 {
		return contender{}, false
	}
	shares, err1 := strconv.Atoi(fields[0])
	limit, err2 := strconv.Atoi(fields[1])
	n, ok := number(fields[2])
	c.shares, c.limit, c.number = shares, limit, n
	return c, ok && err1 == nil && err2 == nil && shares >= 1 && shares <= limit
}

// claim is one claim in a line: ours with its nodes, or a node of another program.
type claim struct {
	contender          // the first node
	nodes     []string // all of them
}

// kind is what the claim says it is; 0: the layout of others does not tell.
func (c claim) kind() engine.Kind {
	if c.id == "" || c.newer {
		return 0
	}
	return letters[c.letter].kind
}

// place is how others see the claim. Another program's has its node's name as id.
func (c claim) place() engine.Place {
	if c.id == "" {
		return engine.Place{ID: engine.ClaimID(c.name), Shares: 1, Foreign: true}
	}
	return engine.Place{ID: c.id, Shares: c.shares}
}

// parseLine puts children in the order of the line. A pair is one claim if its
// numbers are neighbours; what is left of a pair stands for itself.
func parseLine(names []string) []claim {
	all := make([]contender, 0, len(names))
	for _, name := range names {
		if c, ok := parseNode(name); ok {
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return nil
	}
	// ZooKeeper counts on from 2147483647 to -2147483648. Numbers in one line are less
	// than 1<<31 apart, so their differences tell the order.
	zero := all[0].number
	slices.SortFunc(all, func(a, b contender) int { return cmp.Compare(a.number-zero, b.number-zero) })
	line := make([]claim, 0, len(all))
	nodes := make([]string, len(all)) // one piece: a line is read at every turn
	for i, c := range all {
		nodes[i] = c.name
		if last := len(line) - 1; last >= 0 && c.id != "" && line[last].id == c.id && len(line[last].nodes) == 1 &&
			c.number == line[last].number+1 {
			line[last].nodes = nodes[i-1 : i+1 : i+1]
			continue
		}
		line = append(line, claim{c, nodes[i : i+1 : i+1]})
	}
	return line
}

// holders is how many of the line hold: the longest prefix whose shares fit the
// limit of the first. A claim of another layout takes all there is.
func holders(line []claim) int {
	if len(line) == 0 {
		return 0
	}
	limit := line[0].limit
	readers := line[0].reads
	free := limit
	for i, c := range line {
		want := c.shares
		switch {
		case readers && c.reads: // whoever made them, they share
			want = 0
		case i > 0 && (readers || c.fam&shared == 0 || c.fam != line[0].fam):
			want = limit + 1
		}
		if free < want {
			return i
		}
		free -= want
	}
	return len(line)
}
