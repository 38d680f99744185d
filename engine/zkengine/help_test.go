package zkengine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/zktest"
)

// guard is when a test gives up on what it waits for.
const guard = 45 * time.Second

// common are servers that tests which harm nobody share: a start takes a second.
var common struct {
	sync.Once
	t      mainTB
	server *zktest.Server
}

// mainTB is what shared servers fail and end with: the package's tests.
type mainTB struct {
	mu       sync.Mutex
	cleanups []func()
	failed   bool
}

func (m *mainTB) Helper()                      {}
func (m *mainTB) Logf(format string, a ...any) {}
func (m *mainTB) Errorf(format string, a ...any) {
	println("shared server: " + format)
	m.failed = true
}
func (m *mainTB) Fatalf(format string, a ...any) { panic(format) }
func (m *mainTB) Cleanup(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cleanups = append(m.cleanups, f)
}

func (m *mainTB) end() {
	for _, f := range slices.Backward(m.cleanups) {
		f()
	}
}

// TestMain is also the program of the process that is stopped.
func TestMain(m *testing.M) {
	if url := os.Getenv(childHolds); url != "" {
		fmt.Println("result:", holdInChild(url))
		os.Exit(0)
	}
	code := m.Run()
	common.t.end()
	if common.t.failed && code == 0 {
		code = 1
	}
	os.Exit(code)
}

// server is the shared one.
func server(t zktest.TB) *zktest.Server {
	t.Helper()
	zktest.Need(t)
	common.Do(func() { common.server = zktest.Start(&common.t, zktest.Options{}) })
	return common.server
}

func openURL(t interface {
	Helper()
	Context() context.Context
	Fatalf(format string, args ...any)
}, url string) *Engine {
	t.Helper()
	target, err := lockstep.ParseURL(url)
	if err != nil {
		t.Fatalf("%v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), guard)
	defer cancel()
	e, err := Driver.Open(ctx, target)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return e.(*Engine)
}

// endSession has the server forget a session, as if it had run out: another
// connection takes it over by its password and closes it.
func endSession(addr string, z *zkSession) error {
	for {
		err := takeOver(addr, z)
		if err == nil || !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			return err
		}
		// The client was faster: its session is its own again.
	}
}

func takeOver(addr string, z *zkSession) error {
	c, err := net.DialTimeout("tcp", addr, guard)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(guard)); err != nil {
		return err
	}
	b := binary.BigEndian.AppendUint32(nil, 0) // protocol version
	b = binary.BigEndian.AppendUint64(b, 0)    // last zxid seen
	b = binary.BigEndian.AppendUint32(b, uint32(z.ttl().Milliseconds()))
	b = binary.BigEndian.AppendUint64(b, uint64(z.id))
	b = binary.BigEndian.AppendUint32(b, uint32(len(z.passwd)))
	b = append(b, z.passwd...)
	closing := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 1), 0xfffffff5) // closeSession, -11
	// Both at once: the client takes its session back as soon as it can.
	if err := send(c, b, closing); err != nil {
		return err
	}
	reply, err := receive(c)
	if err != nil {
		return err
	}
	if len(reply) < 16 || binary.BigEndian.Uint64(reply[8:]) == 0 {
		return nil // it has ended already
	}
	_, err = receive(c) // without this answer the client may have been faster
	return err
}

func send(c net.Conn, messages ...[]byte) error {
	var b []byte
	for _, m := range messages {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(m))), m...)
	}
	_, err := c.Write(b)
	return err
}

func receive(c net.Conn) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(head[:]))
	_, err := io.ReadFull(c, b)
	return b, err
}

// eventually returns when something is so. That it never is, is an error.
func eventually(t zktest.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(guard); !is(); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, guard)
		}
	}
}

func begin(t *testing.T, e *Engine, ttl time.Duration) *Session {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), guard)
	defer cancel()
	s, err := e.Begin(ctx, engine.SessionOptions{TTL: ttl})
	if err != nil {
		t.Fatalf("Begin: %v", err)
	}
	return s.(*Session)
}
