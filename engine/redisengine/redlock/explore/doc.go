// Command explore tries every way in which a few attempts on a few nodes can go,
// and looks whether Fenced Redlock keeps its promises in all of them. Attempts are
// decided by package vote, the code that the engine runs; nodes do here what lua/
// has them do.
//
//	go run ./engine/redisengine/redlock/explore             the whole of it, some minutes
//	go run ./engine/redisengine/redlock/explore -run NAME   one case of it, with the way to a fault
//	go run ./engine/redisengine/redlock/explore -list       the cases
//
// A state is what nodes keep, what attempts know, and what is on its way between
// them. In each, any request may arrive (late, or never), any reply may (late, or
// never), a request may arrive twice, a claim may end at any node, and a node may
// lose all that it keeps. Two kinds of cases:
//
//   - Tokens: a claim may end at any node at any moment, so clocks, TTLs and
//     whoever believes what do not matter. Checked: no token twice; an attempt that
//     starts after another was won has a greater one; a token that was won is
//     known to a majority.
//   - Exclusion: a claim ends at a node only after its owner stopped to believe in
//     it (S1), and a node that lost its data votes again only when what was granted
//     before has ended. Checked: no two hold at one time.
//
// And a case for each rule that is left out, which must be seen to fail.
package main
