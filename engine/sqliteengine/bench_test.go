package sqliteengine

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// BenchmarkUncontended is a lock and unlock, taking turns with the same thing as
// scripts do it (flock, append a line, fdatasync): the ratio is what counts.
func BenchmarkUncontended(b *testing.B) {
	s := begin(b, open(b, b.TempDir()), long)
	c := mutex("invoices/42")
	file, err := os.OpenFile(filepath.Join(b.TempDir(), "log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	var ours, floor []time.Duration
	for b.Loop() {
		began := time.Now()
		if _, err := s.Acquire(b.Context(), c, false); err != nil {
			b.Fatal(err)
		}
		if _, err := s.Release(b.Context(), c); err != nil {
			b.Fatal(err)
		}
		ours = append(ours, time.Since(began))
		began = time.Now()
		if err := flockAppendSync(file); err != nil {
			b.Fatal(err)
		}
		floor = append(floor, time.Since(began))
	}
	report(b, "lock+unlock", ours)
	report(b, "flock+append+sync", floor)
	b.ReportMetric(float64(median(ours))/float64(median(floor)), "ratio")
}

func flockAppendSync(f *os.File) error {
	if ok, err := tryLock(f, true); err != nil || !ok {
		return fmt.Errorf("locked: %v, %w", ok, err)
	}
	if _, err := f.WriteString("one line of some bytes\n"); err != nil {
		return err
	}
	if err := datasync(f); err != nil {
		return err
	}
	return unlock(f)
}

func median(d []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return s[len(s)/2]
}

func report(b *testing.B, what string, d []time.Duration) {
	s := slices.Sorted(slices.Values(d))
	b.ReportMetric(float64(s[len(s)/2].Microseconds()), what+"-p50-µs")
	b.ReportMetric(float64(s[len(s)*99/100].Microseconds()), what+"-p99-µs")
}

// BenchmarkHandOff is from the start of Release to the waiter's Acquire
// returning, between two engines that share nothing but the directory.
func BenchmarkHandOff(b *testing.B) {
	dir := b.TempDir()
	x, y := begin(b, open(b, dir), long), begin(b, open(b, dir), long)
	held := mutex("n")
	acquire(b, x, held)
	var took []time.Duration
	for b.Loop() {
		c := mutex("n")
		next := enqueue(b, y, c)
		began := time.Now()
		if _, err := x.Release(b.Context(), held); err != nil {
			b.Fatal(err)
		}
		g := mustGrant(b, next)
		took = append(took, g.at.Sub(began))
		x, y, held = y, x, c
	}
	report(b, "hand-off", took)
}

// BenchmarkTurn is what a turn costs two engines, step by step and without the
// waking: a claim enters a held line, the holder lets go, the claim's owner looks.
func BenchmarkTurn(b *testing.B) {
	dir := b.TempDir()
	x, y := begin(b, open(b, dir), long), begin(b, open(b, dir), long)
	held := mutex("n")
	acquire(b, x, held)
	var enter, let, look []time.Duration
	for b.Loop() {
		c := mutex("n")
		c.Note = []byte("a note as long as the core's default is")
		began := time.Now()
		if e, err := y.enter(b.Context(), c); err != nil || !e.waits() {
			b.Fatal(e, err)
		}
		entered := time.Now()
		release(b, x, held)
		released := time.Now()
		err := y.e.quick.single(b.Context(), func(conn *conn) error {
			_, err := lookFor(conn, &waiting{s: y, c: c})
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
		enter, let, look = append(enter, entered.Sub(began)), append(let, released.Sub(entered)), append(look, time.Since(released))
		x, y, held = y, x, c
	}
	report(b, "enter", enter)
	report(b, "release", let)
	report(b, "look", look)
}

// BenchmarkContention is 16 goroutines of 4 engines that take turns on one name.
func BenchmarkContention(b *testing.B) {
	const engines, each = 4, 4
	dir := b.TempDir()
	var sessions []*Session
	for range engines {
		s := begin(b, open(b, dir), long)
		for range each {
			sessions = append(sessions, s)
		}
	}
	var mu sync.Mutex
	var waits []time.Duration
	var wg sync.WaitGroup
	turns := make(chan struct{})
	for _, s := range sessions {
		wg.Go(func() {
			for range turns {
				c := mutex("n")
				began := time.Now()
				if _, err := s.Acquire(b.Context(), c, false); err != nil {
					b.Error(err)
					return
				}
				waited := time.Since(began)
				if _, err := s.Release(b.Context(), c); err != nil {
					b.Error(err)
					return
				}
				mu.Lock()
				waits = append(waits, waited)
				mu.Unlock()
			}
		})
	}
	for b.Loop() {
		turns <- struct{}{}
	}
	close(turns)
	wg.Wait()
	sum := time.Duration(0)
	for _, w := range waits {
		sum += w
	}
	b.ReportMetric(float64(slices.Max(waits))/(float64(sum)/float64(len(waits))), "max/mean-wait")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "hand-offs/s")
}

// BenchmarkRenew10000 is a renewal of one session with that many claims.
func BenchmarkRenew10000(b *testing.B) {
	s := begin(b, open(b, b.TempDir()), long)
	list := make([]*engine.Claim, 10_000)
	var wg sync.WaitGroup
	for part := range 16 {
		wg.Go(func() {
			for i := part; i < len(list); i += 16 {
				list[i] = mutex("n" + strconv.Itoa(i))
				if _, err := s.Acquire(b.Context(), list[i], false); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for b.Loop() {
		if r, err := s.Renew(b.Context(), list); err != nil || len(r.Lost) > 0 {
			b.Fatal(r, err)
		}
	}
}

func BenchmarkCommit(b *testing.B) {
	e := open(b, b.TempDir())
	for b.Loop() {
		if _, err := e.Store().Commit(b.Context(), "m", engine.Tx{Put: []engine.Entry{{Key: "k", Value: []byte("some value")}}}); err != nil {
			b.Fatal(err)
		}
	}
}
