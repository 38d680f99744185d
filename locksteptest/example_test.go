package locksteptest_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/locksteptest"
)

// importAll is some function of a program: it works under a lock.
func importAll(ctx context.Context, c *lockstep.Client, began chan<- *lockstep.Lease) error {
	return c.Mutex("import").Do(ctx, func(ctx context.Context) error {
		began <- lockstep.LeaseFrom(ctx)
		<-ctx.Done() // it works until it is done, or must stop
		return nil
	})
}

func ExampleClient_Lose() {
	var t example // in a test it is the test's *testing.T
	defer t.end()

	c := locksteptest.New(&t)
	began, done := make(chan *lockstep.Lease), make(chan error)
	go func() { done <- importAll(context.Background(), c.Client, began) }()
	c.Lose(<-began)
	fmt.Println("told:", errors.Is(<-done, lockstep.ErrLost))
	// Output: told: true
}

// example stands for a test.
type example struct{ cleanups []func() }

func (e *example) Helper()                   {}
func (e *example) Cleanup(f func())          { e.cleanups = append(e.cleanups, f) }
func (e *example) Errorf(s string, a ...any) { log.Printf(s, a...) }
func (e *example) Fatalf(s string, a ...any) { log.Panicf(s, a...) }

func (e *example) end() {
	for _, f := range e.cleanups {
		f()
	}
}
