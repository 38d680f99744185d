package enginetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// Fault is what happens to one call between its caller and the service.
type Fault uint8

// The faults. After all but Twice, Delay and SessionEnds the caller gets
// [ErrFault], which leaves it in doubt.
const (
	DropRequest Fault = 1 + iota // it never arrives
	DropReply                    // it is carried out (an Acquire: granted), its answer is lost
	Twice                        // it is carried out twice; the second answer arrives
	Late                         // it arrives only after its caller gave up, within Info.Straggle
	Cut                          // an Acquire enters the line and is cut off there; else as DropReply
	Delay                        // it arrives a moment later, and so does its answer
	SessionEnds                  // the session ends before it arrives; no other call of it may be under way
)

// Faults are all of them.
var Faults = []Fault{DropRequest, DropReply, Twice, Late, Cut, Delay, SessionEnds}

func (f Fault) String() string {
	return [...]string{"no fault", "request dropped", "reply dropped", "sent twice", "late", "cut", "delayed", "session ended"}[f]
}

// ErrFault is the outcome that nobody knows.
var ErrFault = errors.New("enginetest: connection lost")

// Call is a method of the seam. Of those that yield, each item is one call, and
// every fault breaks the iteration there.
type Call string

// The calls that faults can meet.
const (
	Begin     Call = "Begin"
	Renew     Call = "Renew"
	End       Call = "End"
	Acquire   Call = "Acquire"
	Release   Call = "Release"
	SetNote   Call = "SetNote"
	Pass      Call = "Pass"
	Line      Call = "Line"
	WatchLine Call = "WatchLine"
	Names     Call = "Names"
	Remove    Call = "Remove"
	List      Call = "List"
	Get       Call = "Get"
	Commit    Call = "Commit"
	Watch     Call = "Watch"
)

// A late request sets out within lateAfter. One that has not by lateUntil never
// does, so that on a machine that stands still Info.Straggle remains true.
const (
	lateAfter = 30 * time.Millisecond
	lateUntil = time.Second
	straggle  = 2 * time.Second
)

// FaultyEngine is an engine behind a bad network. Without a plan it only passes
// calls on. Safe for concurrent use.
type FaultyEngine struct {
	engine.Engine
	ctx    context.Context // of what is late; ends with Close
	cancel context.CancelFunc

	mu      sync.Mutex
	calls   map[Call]int
	planned map[Call]map[int]Fault
	random  *rand.Rand
	share   float64
	faults  []Fault
	met     map[Fault]int
	orphans []engine.Session // that nobody above knows
	late    int              // requests that still are to arrive
	arrived chan struct{}    // closed when there are none
}

// Faulty puts a bad network before an engine.
func Faulty(e engine.Engine) *FaultyEngine {
	ctx, cancel := context.WithCancel(context.Background())
	return &FaultyEngine{
		Engine: e, ctx: ctx, cancel: cancel,
		calls: make(map[Call]int), planned: make(map[Call]map[int]Fault), met: make(map[Fault]int),
	}
}

// On has the nth call from now meet a fault; 1 is the next.
func (f *FaultyEngine) On(c Call, nth int, fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.planned[c] == nil {
		f.planned[c] = make(map[int]Fault)
	}
	f.planned[c][f.calls[c]+nth] = fault
}

// Random has a share (0 to 1) of all calls from now meet one of some faults. The
// seed makes the plan; which call meets what depends on their order too.
func (f *FaultyEngine) Random(seed uint64, share float64, faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.random, f.share, f.faults = rand.New(rand.NewPCG(seed, 0)), share, faults
}

// Heal ends all plans. What is late still arrives.
func (f *FaultyEngine) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.random, f.planned = nil, make(map[Call]map[int]Fault)
}

// Met is how often each fault has happened so far.
func (f *FaultyEngine) Met(fault Fault) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.met[fault]
}

// Arrived waits until no request is late any more.
func (f *FaultyEngine) Arrived() {
	f.mu.Lock()
	arrived := f.arrived
	f.mu.Unlock()
	if arrived != nil {
		<-arrived
	}
}

func (f *FaultyEngine) draw(c Call) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[c]++
	fault := f.planned[c][f.calls[c]]
	if fault == 0 && f.random != nil && f.random.Float64() < f.share {
		fault = f.faults[f.random.IntN(len(f.faults))]
	}
	if fault != 0 {
		f.met[fault]++
	}
	return fault
}

func broken(c Call, fault Fault) error { return fmt.Errorf("%s: %w (%s)", c, ErrFault, fault) }

// through passes a call on as its fault has it.
func through[T any](ctx context.Context, f *FaultyEngine, s *faultySession, c Call, do func(context.Context) (T, error)) (T, error) {
	var none T
	fault := f.draw(c)
	switch fault {
	case DropRequest:
		return none, broken(c, fault)
	case DropReply, Cut:
		do(ctx)
		return none, broken(c, fault)
	case Twice:
		do(ctx)
	case Late:
		f.later(func(ctx context.Context) { do(ctx) })
		return none, broken(c, fault)
	case Delay:
		if err := pause(ctx, lateAfter); err != nil {
			return none, err
		}
	case SessionEnds:
		if s != nil {
			s.Session.End(ctx, s.begun())
		}
	}
	return do(ctx)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// later has a request arrive after its caller gave up.
func (f *FaultyEngine) later(do func(context.Context)) {
	gaveUp := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.late == 0 {
		f.arrived = make(chan struct{})
	}
	f.late++
	go func() {
		defer f.hasArrived()
		if pause(f.ctx, rand.N(lateAfter)) == nil && time.Since(gaveUp) < lateUntil {
			do(f.ctx)
		}
	}()
}

func (f *FaultyEngine) hasArrived() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.late--; f.late == 0 {
		close(f.arrived)
	}
}

// Info adds what can be late here.
func (f *FaultyEngine) Info() engine.Info {
	info := f.Engine.Info()
	info.Straggle += straggle
	return info
}

// Begin may leave a session behind that nobody knows; Close ends it.
func (f *FaultyEngine) Begin(ctx context.Context, o engine.SessionOptions) (engine.Session, error) {
	switch fault := f.draw(Begin); fault {
	case DropRequest:
		return nil, broken(Begin, fault)
	case DropReply, Cut, Late:
		if s, err := f.Engine.Begin(ctx, engine.SessionOptions{TTL: o.TTL}); err == nil {
			f.orphan(s)
		}
		return nil, broken(Begin, fault)
	}
	s, err := f.Engine.Begin(ctx, o)
	if err != nil {
		return nil, err
	}
	return &faultySession{Session: s, f: f}, nil
}

// Line may fail.
func (f *FaultyEngine) Line(ctx context.Context, name string) (engine.Line, error) {
	return through(ctx, f, nil, Line, func(ctx context.Context) (engine.Line, error) { return f.Engine.Line(ctx, name) })
}

// WatchLine may break at any item.
func (f *FaultyEngine) WatchLine(ctx context.Context, name string) iter.Seq2[engine.Line, error] {
	return breaking(f, WatchLine, f.Engine.WatchLine(ctx, name))
}

// Names may break at any item.
func (f *FaultyEngine) Names(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return breaking(f, Names, f.Engine.Names(ctx, prefix))
}

func breaking[T any](f *FaultyEngine, c Call, items iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for item, err := range items {
			if fault := f.draw(c); fault != 0 {
				var none T
				yield(none, broken(c, fault))
				return
			}
			if !yield(item, err) {
				return
			}
		}
	}
}

// Remove may fail.
func (f *FaultyEngine) Remove(ctx context.Context, name string, id engine.ClaimID) error {
	_, err := through(ctx, f, nil, Remove, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, f.Engine.Remove(ctx, name, id)
	})
	return err
}

// Store is the engine's behind the same network.
func (f *FaultyEngine) Store() engine.Store {
	s := f.Engine.Store()
	if s == nil {
		return nil
	}
	return &faultyStore{s, f}
}

// Close waits for what is late, ends what is forgotten, and closes the engine.
func (f *FaultyEngine) Close() error {
	f.cancel()
	f.Arrived()
	f.mu.Lock()
	orphans := f.orphans
	f.orphans = nil
	f.mu.Unlock()
	for _, s := range orphans {
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		s.End(ctx, nil)
		cancel()
	}
	return f.Engine.Close()
}
