// Command scheduler has a fleet elect a leader, which hands out jobs; the others stand
// by. A leader that crashes is followed by the next in line, which goes on where the
// last one stopped.
//
//	go run ./examples/scheduler
package main

import (
	"context"
	"fmt"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/examples/fleet"
)

const (
	jobs    = 8 // and then everybody goes home
	perTerm = 3 // jobs after which a leader crashes, so that there is something to see
)

func main() { fleet.Main(run) }

// book is what outlives a leader: which jobs are done, and in whose term.
type book struct {
	Done  int            `json:"done"`
	Token lockstep.Token `json:"token"`
}

type scheduler struct {
	*fleet.Member

	book *lockstep.TypedValue[book]
}

func run(ctx context.Context, m *fleet.Member) error {
	s := &scheduler{m, lockstep.ValueOf[book](m.Client, "scheduler/book")}
	// Run campaigns, and campaigns again whenever the lead is lost. It returns when
	// lead does, which here is when there is nothing left to do.
	return m.Client.Election("scheduler").Run(ctx, m.Name, s.lead)
}

// lead is one term. Its context ends when the lead is lost.
func (s *scheduler) lead(ctx context.Context) error {
	token := lockstep.TokenFrom(ctx)
	for n := 0; ; n++ {
		if n == perTerm {
			s.Crash()
		}
		job, err := s.next(ctx, token)
		switch {
		case err != nil:
			return err
		case job > jobs:
			s.Say("all jobs are done")
			return nil
		}
		s.Say("leads, and runs job %d", job)
		select {
		case <-time.After(50 * time.Millisecond): // the work
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// next takes the next job. A leader that was paused and does not know that it was
// followed is refused by its token: this is the fence.
func (s *scheduler) next(ctx context.Context, token lockstep.Token) (job int, err error) {
	b, err := s.book.Update(ctx, func(b book) (book, error) {
		if b.Token > token {
			return b, fmt.Errorf("term %d is over: term %d has begun", token, b.Token)
		}
		return book{Done: min(b.Done+1, jobs+1), Token: token}, nil
	})
	return b.Done, err
}
