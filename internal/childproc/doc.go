// Package childproc runs servers as child processes of a test: each is stopped by
// its process id, can be stopped in its tracks (SIGSTOP) and dies with the test's
// process where the system can do that. Starters of servers (redistest, etcdtest, zktest)
// are built on it.
package childproc
