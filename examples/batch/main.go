// Command batch has a fleet do a job in phases. Each phase has parts, which the workers
// share out among themselves; what a worker that crashed had begun is done by another.
// No phase begins before the last is complete. In the end one of them makes the report,
// which all print.
//
//	go run ./examples/batch
package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/examples/fleet"
)

const (
	parts    = 6 // of each phase
	partSize = 100
)

func main() { fleet.Main(run) }

func run(ctx context.Context, m *fleet.Member) error {
	w := &worker{Member: m, sums: lockstep.MapOf[int](m.Client, "batch/sums"), shares: lockstep.MapOf[string](m.Client, "batch/shares")}
	if err := (&phase[int]{w, "sum", w.sums, w.sum}).complete(ctx); err != nil {
		return err
	}
	if err := (&phase[string]{w, "share", w.shares, w.share}).complete(ctx); err != nil {
		return err
	}
	// One runs it and the others get what it made; were the runner to crash, the next
	// in line would run it.
	report, err := m.Client.Once("batch/report").Do(ctx, w.report)
	for fleet.Again(ctx, err) {
		report, err = m.Client.Once("batch/report").Do(ctx, w.report)
	}
	if err == nil {
		m.Say("%s", report)
	}
	return err
}

type worker struct {
	*fleet.Member

	sums   *lockstep.TypedMap[int]
	shares *lockstep.TypedMap[string]
	done   int
}

// phase is a number of parts, each of which has a T as its result.
type phase[T any] struct {
	*worker

	name    string
	results *lockstep.TypedMap[T]
	do      func(ctx context.Context, part int) (T, error)
}

// complete returns when all parts are done. First it does those that nobody works on;
// then it waits for the others' as well, and does what they could not.
func (p *phase[T]) complete(ctx context.Context) error {
	for _, wait := range []bool{false, true} {
		for n := 1; n <= parts; n++ {
			err := p.part(ctx, n, wait)
			for fleet.Again(ctx, err) {
				err = p.part(ctx, n, true)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// part does one part under its lock, unless it is done.
func (p *phase[T]) part(ctx context.Context, n int, wait bool) error {
	key := strconv.Itoa(n)
	name := "batch/" + p.name + "/" + key
	lock := p.Client.Mutex(name).TryLock
	if wait {
		lock = p.Client.Mutex(name).Lock
	}
	lease, err := lock(ctx)
	if errors.Is(err, lockstep.ErrHeld) {
		return nil // somebody works on it
	}
	if err != nil {
		return err
	}
	defer lease.Release(ctx)       //nolint:errcheck // it is given back in the background, or was lost already
	ctx, free := lease.Attach(ctx) // it ends when the lease is lost
	defer free()
	if _, err := p.results.Get(ctx, key); !errors.Is(err, lockstep.ErrNotFound) {
		return err // nil: it is done
	}
	result, err := p.do(ctx, n)
	if err != nil {
		return err
	}
	// Only where there is none yet: a worker that was paused after it lost its lease
	// overwrites nothing.
	_, err = p.results.CompareAndSwap(ctx, key, 0, result)
	switch {
	case errors.Is(err, lockstep.ErrConflict):
		return nil // somebody has done it meanwhile
	case err == nil:
		p.Say("%s: %v", name, result)
	}
	return err
}

// sum is a part of the first phase. Worker c crashes in its second.
func (w *worker) sum(ctx context.Context, n int) (sum int, err error) {
	for i := (n-1)*partSize + 1; i <= n*partSize; i++ {
		sum += i
	}
	select {
	case <-time.After(50 * time.Millisecond): // the work
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	if w.done++; w.done == 2 && w.Name == "c" {
		w.Crash()
	}
	return sum, nil
}

// share is a part of the second phase: it needs every part of the first.
func (w *worker) share(ctx context.Context, n int) (string, error) {
	all, err := w.total(ctx)
	if err != nil {
		return "", err
	}
	mine, err := w.sums.Get(ctx, strconv.Itoa(n))
	return fmt.Sprintf("%.1f %%", 100*float64(mine.Value)/float64(all)), err
}

func (w *worker) total(ctx context.Context) (total int, err error) {
	sums, _, err := w.sums.List(ctx)
	for _, s := range sums {
		total += s.Value
	}
	return total, err
}

func (w *worker) report(ctx context.Context) ([]byte, error) {
	w.Say("makes the report")
	total, err := w.total(ctx)
	if err != nil {
		return nil, err
	}
	last, err := w.shares.Get(ctx, strconv.Itoa(parts))
	return fmt.Appendf(nil, "the sum of all is %d, and part %s of it is %s", total, last.Key, last.Value), err
}
