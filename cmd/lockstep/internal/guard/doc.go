// Package guard runs a command so that it cannot outlive the lock it runs under.
//
// Three processes take part:
//
//	command   `lockstep lock`: holds the lock, renews it, is what users signal
//	guardian  this executable again, in a process group of its own; it starts
//	          the child and outlives the command
//	child     the leader of a third process group, which is the terminal's
//	          foreground group where there is one
//
// The command tells the guardian until when the child may run (the end of the
// trust window, which moves with each renewal). The guardian acts by itself when
// that time comes near without news: the command is frozen, or cannot renew.
// It acts at once when the pipe from the command ends: the command was killed.
// First TERM, then KILL, so that the group is gone before the window closes.
//
//	who fails          who acts       how it learns
//	command killed     guardian       end of the pipe
//	command frozen     guardian       the window comes near
//	lock taken away    guardian       the command says so
//	guardian killed    command        end of the pipe; it adopts the child
//	guardian frozen    command        no answer in time: it kills the guardian
//	both killed        the kernel     the child's leader gets KILL (Linux)
//
// The guardian holds duplicates of the session's liveness descriptors, where the
// engine has any, and gives them up by ending, after the group is gone: the next
// holder starts after the last one ended. The child inherits no descriptor of ours.
//
// Known limits: a child that makes a process group or session of its own leaves
// the group, and one that changes its user (sudo) cannot be signalled. Windows
// has no guardian: see run_windows.go.
package guard
