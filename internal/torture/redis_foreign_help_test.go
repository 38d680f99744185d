package torture

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bsm/redislock"
	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"

	"github.com/lockstep-go/lockstep/internal/need"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// foreign is another program's library. try takes the lock if it is free, once,
// and says how to give it back.
type foreign interface {
	try(ctx context.Context, name string) (giveBack func() error, got bool, err error)
}

// foreigners are those that Lockstep shares its locks' layout with.
var foreigners = []struct {
	name  string
	start func(t *testing.T, s *redistest.Server) foreign
}{
	{"redsync", startRedsync},
	{"redislock", startRedislock},
	{"redis-py", startRedisPy},
	{"SET NX", startBare},
}

// foreignTTL is longer than any test: nothing of theirs ends by itself.
const foreignTTL = 10 * time.Minute

func goRedis(t *testing.T, s *redistest.Server) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.Addr})
	t.Cleanup(func() { c.Close() })
	return c
}

type redsyncLock struct{ rs *redsync.Redsync }

func startRedsync(t *testing.T, s *redistest.Server) foreign {
	t.Helper()
	return redsyncLock{redsync.New(goredis.NewPool(goRedis(t, s)))}
}

func (f redsyncLock) try(ctx context.Context, name string) (func() error, bool, error) {
	m := f.rs.NewMutex(name, redsync.WithExpiry(foreignTTL), redsync.WithTries(1))
	err := m.TryLockContext(ctx)
	if taken := new(redsync.ErrTaken); errors.As(err, &taken) {
		return nil, false, nil
	}
	return func() error {
		ok, err := m.UnlockContext(ctx)
		if err == nil && !ok {
			err = errors.New("redsync no longer had its lock")
		}
		return err
	}, err == nil, err
}

type redislockLock struct{ c *redislock.Client }

func startRedislock(t *testing.T, s *redistest.Server) foreign {
	t.Helper()
	return redislockLock{redislock.New(goRedis(t, s))}
}

func (f redislockLock) try(ctx context.Context, name string) (func() error, bool, error) {
	l, err := f.c.Obtain(ctx, name, foreignTTL, nil)
	if errors.Is(err, redislock.ErrNotObtained) {
		return nil, false, nil
	}
	return func() error { return l.Release(ctx) }, err == nil, err
}

// redisPy is a Python process that is told what to do, a line at a time.
type redisPy struct {
	mu  sync.Mutex
	in  *bufio.Writer
	out *bufio.Scanner
}

// Debian's module belongs to Debian's Python, whatever else is on PATH.
const python = "/usr/bin/python3"

func startRedisPy(t *testing.T, s *redistest.Server) foreign {
	t.Helper()
	need.That(t, "redis-py (Debian's python3-redis)", exec.Command(python, "-c", "import redis").Run())
	cmd := exec.Command(python, "testdata/redis_lock.py", "127.0.0.1", fmt.Sprint(s.Port))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return &redisPy{in: bufio.NewWriter(stdin), out: bufio.NewScanner(stdout)}
}

func (f *redisPy) try(_ context.Context, name string) (func() error, bool, error) {
	got, err := f.ask("try " + name)
	return func() error {
		_, err := f.ask("release " + name)
		return err
	}, got, err
}

func (f *redisPy) ask(line string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fmt.Fprintln(f.in, line)
	if err := f.in.Flush(); err != nil {
		return false, err
	}
	if !f.out.Scan() {
		return false, fmt.Errorf("the Python process ended: %w", f.out.Err())
	}
	switch answer := f.out.Text(); answer {
	case "0", "1":
		return answer == "1", nil
	default:
		return false, fmt.Errorf("redis-py: %s", answer)
	}
}

// bare is what people write themselves: SET NX without a TTL.
type bare struct{ s *redistest.Server }

func startBare(t *testing.T, s *redistest.Server) foreign {
	t.Helper()
	return bare{s}
}

func (f bare) try(_ context.Context, name string) (func() error, bool, error) {
	value := strings.ToLower(rand.Text())
	answer, err := f.s.Do("SET", name, value, "NX")
	return func() error {
		deleted, err := f.s.Do("EVAL", "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1])", "1", name, value)
		if err == nil && deleted != int64(1) {
			err = errors.New("the key was no longer there")
		}
		return err
	}, answer == "OK", err
}
