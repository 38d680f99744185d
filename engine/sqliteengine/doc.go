// Package sqliteengine is the engine of one host: processes share a private
// directory, and nothing has to be started.
//
// The directory holds
//
//	lockstep.db    what users store (SQLite, WAL): durable, database.go
//	lines.db       lines, and who has a session: ends with the boot, db.go
//	gate           whoever writes to lines.db, or opens, holds its lock; gate.go
//	gate-store     whoever writes to lockstep.db holds its lock
//	open           every open engine holds its lock, shared: is anybody here?
//	sessions/<id>  locked by the session's process, holds its deadline; liveness.go
//	bells/<id>     written to wake the engine that owns it; bell.go
//
// A session lives while three things are true: its row is in the database, its
// file is locked, and its deadline has not passed. A process that dies loses the
// lock at once; one that is stopped runs into its deadline. Whoever finds a
// session dead removes it and lets the next in, in one transaction.
//
// Every change is a transaction of one of this process's writers, one for each
// database (writer.go), and grants are made by the transaction that makes room for
// them (line.go): the releaser's own. The waiter is told by its bell (wait.go). A
// renewal is no transaction, so that a process stopped inside the gate cannot end
// the sessions of all others (session.go).
//
// Nobody but SQLite may open a database, its -wal or -shm, and no second SQLite may
// run in the process: closing any descriptor of them drops SQLite's POSIX locks.
package sqliteengine
