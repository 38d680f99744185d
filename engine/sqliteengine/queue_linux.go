package sqliteengine

import (
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// queue is who waits at the gate, in memory that all processes share: the gate's
// own file, mapped. The lock alone decides who is inside. The queue says whom to
// wake, and that newcomers step back for that one: without it, whoever has just
// left is inside again before a sleeper has opened its eyes. What a process that
// dies leaves behind in it costs others a little time, and never the truth.
type queue struct {
	memory   []byte
	left     *atomic.Uint32 // how often somebody left; what waiters sleep on (futex)
	waiting  *atomic.Uint32
	reserved *atomic.Int64 // until when (systemClock) newcomers step back; 0: they need not
}

// queueSize is what is mapped of the file; layout: left, waiting, reserved.
const queueSize = 16

// courtesy is how long newcomers step back for one that was woken: it may have
// been stopped, or killed.
const courtesy = 300 * time.Microsecond

// openQueue writes what it maps: a page that has no room on the disk would end
// the process when it is written to.
func openQueue(f *os.File) (*queue, error) {
	var there [queueSize]byte
	if n, _ := f.ReadAt(there[:], 0); n < queueSize {
		if _, err := f.WriteAt(make([]byte, queueSize), 0); err != nil {
			return nil, err
		}
	}
	m, err := unix.Mmap(int(f.Fd()), 0, queueSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return &queue{
		memory:   m,
		left:     (*atomic.Uint32)(unsafe.Pointer(&m[0])), //nolint:gosec // G103: shared memory has no other way in
		waiting:  (*atomic.Uint32)(unsafe.Pointer(&m[4])), //nolint:gosec // as above
		reserved: (*atomic.Int64)(unsafe.Pointer(&m[8])),  //nolint:gosec // as above
	}, nil
}

func (q *queue) close() error { return os.NewSyscallError("munmap", unix.Munmap(q.memory)) }

// forWoken says whether newcomers must step back.
func (q *queue) forWoken() bool {
	until := q.reserved.Load()
	return until != 0 && systemClock{}.mono() < until
}

func (q *queue) join() { q.waiting.Add(1) }
func (q *queue) part() { q.waiting.Add(^uint32(0)) }

// ticket is what sleep takes: somebody who leaves after it was drawn ends the
// sleep, or lets none begin.
func (q *queue) ticket() uint32 { return q.left.Load() }

func (q *queue) sleep(ticket uint32, atMost time.Duration) {
	ts := unix.NsecToTimespec(int64(atMost))
	//nolint:gosec,dogsled // G103: futex(2) has no wrapper, both pointers live as long as the call; why it ended does not matter
	_, _, _ = syscall.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(q.left)), futexWait, uintptr(ticket),
		uintptr(unsafe.Pointer(&ts)), 0, 0)
}

// FUTEX_WAIT and FUTEX_WAKE of linux/futex.h, between processes.
const (
	futexWait = 0
	futexWake = 1
)

// entered ends the courtesy: whoever it was for is inside, or somebody else is.
func (q *queue) entered() {
	if q.reserved.Load() != 0 {
		q.reserved.Store(0)
	}
}

// leaving comes before the lock is given up, leave after it.
func (q *queue) leaving() (waitedFor bool) {
	if q.waiting.Load() == 0 {
		return false
	}
	q.reserved.Store(systemClock{}.mono() + int64(courtesy))
	return true
}

func (q *queue) leave() {
	q.left.Add(1)
	//nolint:gosec // G103: as in sleep
	woken, _, _ := syscall.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(q.left)), futexWake, 1, 0, 0, 0)
	if woken == 0 { // nobody sleeps; those who were counted look by themselves, or died
		q.reserved.Store(0)
	}
}
