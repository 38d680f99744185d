package vote

import "math/bits"

// MaxNodes is how many nodes there may be. More only make each lock dearer: seven
// survive the loss of three.
const MaxNodes = 15

// Majority of some nodes: two of them always have a node in common.
func Majority(nodes int) int { return nodes/2 + 1 }

// Set is some of the nodes.
type Set uint16

// All is every one of so many nodes.
func All(nodes int) Set { return 1<<nodes - 1 }

// Has says whether the node is in the set.
func (s Set) Has(node int) bool { return s>>node&1 == 1 }

// With is the set and the node.
func (s Set) With(node int) Set { return s | 1<<node }

// Without is the set but for the node.
func (s Set) Without(node int) Set { return s &^ (1 << node) }

// Len is how many are in it.
func (s Set) Len() int { return bits.OnesCount16(uint16(s)) }
