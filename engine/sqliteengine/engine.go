package sqliteengine

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/lockstep-go/lockstep/engine"
)

// Engine is one open directory; it implements [engine.Engine].
type Engine struct {
	dir   dir
	clock clock
	log   *slog.Logger

	here     *os.File // shared lock on the directory: somebody is here
	bell     int64
	bellFile *os.File
	ropes    ropes // to the bells of others

	writer  *writer // of lines.db
	commits *writer // of lockstep.db
	quick   *reader // of lines.db, for renewals and grants
	bulk    *reader // of lines.db, for what may take longer
	maps    *reader // of lockstep.db
	news    *reader // of lockstep.db, for whether it changed
	wait    *waitRoom
	reads   atomic.Int64

	mu       sync.Mutex
	closed   bool
	sessions map[int64]*Session
	over     chan struct{} // closed by Close
}

// Option changes how a directory is opened.
type Option func(*options)

type options struct {
	log   *slog.Logger
	clock clock
	boot  func() (string, error)
	naps  naps
}

// WithLogger has the engine report what nobody can act on in code, such as a
// process that is stopped while it holds up all writers. Default: slog.Default.
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.log = l } }

// Open opens a directory, and makes it if it is not there (mode 0700). ErrInvalid:
// it cannot be a directory of this engine; ErrUnusable: it could be, after a
// repair. The message says what would be right.
func Open(ctx context.Context, path string, opts ...Option) (*Engine, error) {
	o := options{log: slog.Default(), clock: systemClock{}, boot: bootID, naps: defaultNaps}
	for _, opt := range opts {
		opt(&o)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	boot, err := o.boot()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrUnusable, err)
	}
	d, err := makeDir(path)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		dir: d, clock: o.clock, log: o.log,
		sessions: make(map[int64]*Session), over: make(chan struct{}),
	}
	if err := e.open(ctx, boot); err != nil {
		return nil, err
	}
	e.wait = newWaitRoom(e, o.naps)
	return e, nil
}

// open does inside the gate what must not happen twice at the same time.
func (e *Engine) open(ctx context.Context, boot string) (err error) {
	var opened []*os.File
	defer func() {
		if err != nil {
			for _, f := range opened {
				_ = f.Close()
			}
		}
	}()
	keep := func(f *os.File, err error) (*os.File, error) {
		if err != nil {
			return nil, e.dir.explainFile(err)
		}
		opened = append(opened, f)
		return f, nil
	}
	if e.here, err = keep(e.dir.openFile(e.dir.openLock(), 0)); err != nil {
		return err
	}
	lines, err := e.openGate(e.dir.gate())
	if err != nil {
		return err
	}
	store, err := e.openGate(e.dir.storeGate())
	if err != nil {
		return errors.Join(err, lines.close())
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lines.close(), store.close())
		}
	}()
	if err := e.enterGate(ctx, lines); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lines.leave()) }()
	p, err := e.arrive(ctx, boot)
	if err != nil {
		return err
	}
	e.bell = newID()
	e.bellFile, err = keep(e.dir.newBell(e.bell))
	if err != nil {
		return errors.Join(err, p.close())
	}
	e.ropes = ropes{dir: e.dir, open: make(map[int64]rope)}
	e.quick, e.bulk = newReader(e.dir.lines(), &e.reads), newReader(e.dir.lines(), &e.reads)
	e.maps, e.news = newReader(e.dir.store(), &e.reads), newReader(e.dir.store(), &e.reads)
	e.writer = newWriter(e, e.dir.lines(), false, lines, p.lines)
	e.commits = newWriter(e, e.dir.store(), true, store, p.store)
	return nil
}

func (e *Engine) openGate(path string) (gate, error) {
	f, err := e.dir.openFile(path, 0)
	if err != nil {
		return gate{}, e.dir.explainFile(err)
	}
	g, err := openGate(f, e.log)
	if err != nil {
		return gate{}, errors.Join(e.dir.explainFile(err), f.Close())
	}
	return g, nil
}

// enterGate is gate.enter for a caller with a context.
func (e *Engine) enterGate(ctx context.Context, g gate) error {
	err := g.enter(ctx.Done())
	if errors.Is(err, errStopped) {
		return fmt.Errorf("waiting to open %s, held up by %s: %w", e.dir, g.holder(), ctx.Err())
	}
	return err
}

// arrive prepares the databases and takes the shared lock that says so. All who
// open pass the gate, so nobody comes between the exclusive look and it.
func (e *Engine) arrive(ctx context.Context, boot string) (*preparation, error) {
	p := &preparation{dir: e.dir, clock: e.clock, boot: boot, alone: func() (bool, error) { return tryLock(e.here, true) }}
	err := p.run()
	for isBusy(err) && ctx.Err() == nil {
		err = p.run()
	}
	if err != nil {
		return nil, err
	}
	ok, err := tryLock(e.here, false)
	if err == nil && !ok {
		err = fmt.Errorf("%w: %s is locked by another program", engine.ErrUnusable, e.dir)
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// Close ends what is left. The core has ended every session before; one that it
// has not dies with its file, as if this process had ended.
func (e *Engine) Close() error {
	e.mu.Lock()
	already := e.closed
	e.closed = true
	left := e.sessions
	e.sessions = nil
	e.mu.Unlock()
	if already {
		<-e.over
		return nil
	}
	e.wait.close()
	var err error
	for _, s := range left {
		err = errors.Join(err, s.drop())
	}
	err = errors.Join(err, e.commits.close(), e.writer.close(),
		e.quick.close(), e.bulk.close(), e.maps.close(), e.news.close())
	e.ropes.letGo()
	// Where somebody has the bell open (ropes) and the system then keeps the file
	// (Windows), a later sweep removes it.
	_ = os.Remove(e.dir.bell(e.bell))
	err = errors.Join(err, e.bellFile.Close(), e.here.Close())
	close(e.over)
	return err
}

func (e *Engine) isClosed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closed
}

// Transactions counts what this engine committed to its databases, and Reads how
// often it looked into them otherwise.
func (e *Engine) Transactions() int64 {
	return e.writer.transactions.Load() + e.commits.transactions.Load()
}

// Reads counts the reads outside transactions that write.
func (e *Engine) Reads() int64 { return e.reads.Load() }

// newID is a positive random number: nobody has had it before.
func newID() int64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return int64(binary.LittleEndian.Uint64(b[:])>>1) | 1
}

// CheckName takes every name that the core lets pass.
func (e *Engine) CheckName(name string) (string, error) { return name, nil }

// Remove ends the claim whoever made it.
func (e *Engine) Remove(ctx context.Context, name string, id engine.ClaimID) error {
	return e.writer.do(ctx, func(t *txn) error {
		r, err := t.first("SELECT seq, session, bell FROM claims WHERE name = ? AND id = ?", name, string(id))
		if r == nil || err != nil {
			return err
		}
		seq, session := r.int(0), r.int(1)
		t.ring(r.int(2)) // a waiter hears that it is gone
		t.settle = append(t.settle, name)
		t.after = append(t.after, func() { e.claimGone(session, id) })
		_, err = t.exec("DELETE FROM claims WHERE name = ? AND seq = ?", name, seq)
		return err
	})
}

// claimGone tells a session of this engine that somebody removed its claim.
func (e *Engine) claimGone(session int64, id engine.ClaimID) {
	e.mu.Lock()
	s := e.sessions[session]
	e.mu.Unlock()
	if s != nil {
		s.tell(id, engine.ErrNotFound)
	}
}

// sessionGone cleans up after a session that a committed transaction removed.
func (e *Engine) sessionGone(session int64) {
	_ = os.Remove(e.dir.session(session)) // where it cannot, a later sweep does
	e.mu.Lock()
	s := e.sessions[session]
	e.mu.Unlock()
	if s != nil {
		s.lose()
		e.wait.wake()
	}
}
