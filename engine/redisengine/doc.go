// Package redisengine is the engine of one Redis 6.2 or newer, or a Valkey.
//
// Every step is a script that the server runs as a whole (lua/, one algorithm a
// file). A lock that nobody waits for is one key, at exactly its name, that other
// programs' locks respect and that respects theirs; everything else of a name
// lies beside it (lua/line.lua). A claim lives for a TTL from the last request
// that named it: there is no session at the server, and nothing to be swept.
//
// The way of a hand-over: the holder's release runs a script, which gives the
// name to the first waiter that lives and publishes so on its client's channel
// (bell.go, message.go). The waiter believes that without asking back, if it can
// be believed (wait.go, seen.trust).
//
// Who reads on: engine.go, then acquire.go with lua/acquire.lua, then renew.go.
package redisengine
