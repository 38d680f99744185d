// Package torture has no code to use: its tests put real servers, foreign
// clients and a bad network (internal/redistest, faultnet, clockshim) against
// what Lockstep promises. It is a module of its own, outside go.work, because
// of the clients that it needs.
//
// All of it goes through the public API, as users do. Exclusion is checked by
// what holders believed (checker_test.go), never by what a server says.
//
// Tests with Soak in their names have a short form, which make test runs, and a
// long one (make soak).
package torture
