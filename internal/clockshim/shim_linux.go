package clockshim

import (
	_ "embed"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/lockstep-go/lockstep/internal/need"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

//go:embed preload/shim.c
var source []byte

// Shim is the offset of one clock, which any number of processes may have.
type Shim struct {
	library, file string
	page          []byte

	mu     sync.Mutex
	offset time.Duration
	ended  bool
}

// Build compiles the shim with gcc. Its clock is right until it is stepped.
func Build(t redistest.TB) *Shim {
	t.Helper()
	gcc := need.Program(t, "gcc", "gcc")
	dir, err := os.MkdirTemp("", "clock")
	if err != nil {
		t.Fatalf("clockshim: %v", err)
	}
	s := &Shim{library: filepath.Join(dir, "shim.so"), file: filepath.Join(dir, "offset")}
	t.Cleanup(func() {
		s.unmap()
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("clockshim: %v", err)
		}
	})
	code := filepath.Join(dir, "shim.c")
	if err := os.WriteFile(code, source, 0o600); err != nil {
		t.Fatalf("clockshim: %v", err)
	}
	cmd := exec.Command(gcc, "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o", s.library, code) //nolint:noctx // it ends by itself
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("clockshim: gcc: %v\n%s", err, out)
	}
	if err := s.mapFile(); err != nil {
		t.Fatalf("clockshim: %v", err)
	}
	return s
}

// mapFile maps the offset rather than writing it: a write of eight bytes may be
// read by halves.
func (s *Shim) mapFile() error {
	if err := os.WriteFile(s.file, binary.NativeEndian.AppendUint64(nil, 0), 0o600); err != nil {
		return err
	}
	f, err := os.OpenFile(s.file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	s.page, err = syscall.Mmap(int(f.Fd()), 0, 8, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	return err
}

func (s *Shim) unmap() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	_ = syscall.Munmap(s.page) // the test is over
}

// Env is what a process's environment needs so that this is its clock.
func (s *Shim) Env() []string {
	return []string{"LD_PRELOAD=" + s.library, "LOCKSTEP_CLOCK=" + s.file}
}

// Step moves the clock by so much, forward or back, at once.
func (s *Shim) Step(by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.offset += by
	atomic.StoreInt64((*int64)(unsafe.Pointer(&s.page[0])), int64(s.offset)) //nolint:gosec // a page is aligned, and eight bytes long
}

// Offset is how far the clock is from the machine's.
func (s *Shim) Offset() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offset
}
