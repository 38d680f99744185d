package torture

import (
	"bufio"
	"context"
	"errors"
	"iter"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/go-zookeeper/zk"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine/etcdengine"
	"github.com/lockstep-go/lockstep/engine/zkengine"
	"github.com/lockstep-go/lockstep/internal/etcdtest"
	"github.com/lockstep-go/lockstep/internal/need"
	"github.com/lockstep-go/lockstep/internal/zktest"
)

// A value is at exactly its name, where every other tool finds it.
const valuePath = "/my/path"

// nextValue is the next value that our watcher is shown.
func nextValue(t *testing.T, next func() (lockstep.Change, error, bool)) string {
	t.Helper()
	for {
		change, err, more := next()
		if err != nil || !more {
			t.Fatalf("our watcher ended: %v", err)
		}
		if change.Op == lockstep.OpPut {
			return string(change.Value)
		}
	}
}

func TestEtcdctlPutsToOurWatcherOfThePathAndWatchesOurPuts(t *testing.T) {
	t.Parallel()
	path := need.Program(t, "etcdctl", "etcd-client")
	s := etcdtest.Start(t)
	ctx := guarded(t, hang)
	etcdctl := func(args ...string) *exec.Cmd {
		c := exec.CommandContext(ctx, path, append([]string{"--endpoints", s.Addr}, args...)...)
		c.Env = append(os.Environ(), "ETCDCTL_API=3")
		return c
	}
	value := openURL(t, s.URL(), etcdengine.Driver).Value(valuePath)
	next, stop := iter.Pull2(value.Watch(ctx))
	defer stop()
	if _, err := value.Put(ctx, []byte("ours, the first")); err != nil {
		t.Fatal(err)
	}
	for v := ""; v != "ours, the first"; v = nextValue(t, next) { // it watches, at the latest now
		continue
	}
	if out, err := etcdctl("put", valuePath, "theirs").CombinedOutput(); err != nil {
		t.Fatalf("etcdctl put: %v: %s", err, out)
	}
	if got := nextValue(t, next); got != "theirs" {
		t.Errorf("etcdctl put reached our watcher as %q", got)
	}

	watch := etcdctl("watch", "--rev", "1", valuePath)
	out, err := watch.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = watch.Process.Kill(); _ = watch.Wait() }()
	if _, err := value.Put(ctx, []byte("ours")); err != nil {
		t.Fatal(err)
	}
	var printed []string
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "ours"; {
		printed = append(printed, lines.Text())
	}
	if want := "PUT|/my/path|ours, the first|PUT|/my/path|theirs|PUT|/my/path"; strings.Join(printed, "|") != want {
		t.Errorf("before our put etcdctl watch printed %q", printed)
	}
}

func TestAZooKeeperClientWritesToOurWatcherOfTheNodeAndWatchesOurPuts(t *testing.T) {
	t.Parallel()
	zktest.Need(t)
	s := zktest.Start(t, zktest.Options{})
	ctx := guarded(t, hang)
	theirs, _, err := zk.Connect([]string{s.Addr}, hang, zk.WithLogInfo(false))
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	for _, node := range []string{"/my", valuePath} {
		if _, err := theirs.Create(node, []byte("theirs, the first"), 0, zk.WorldACL(zk.PermAll)); err != nil {
			t.Fatal(err)
		}
	}
	value := openURL(t, "zk://"+s.Addr, zkengine.Driver).Value(valuePath)
	next, stop := iter.Pull2(value.Watch(ctx))
	defer stop()
	if got := nextValue(t, next); got != "theirs, the first" {
		t.Errorf("what was at the node is shown as %q", got)
	}
	if _, err := theirs.Set(valuePath, []byte("theirs"), -1); err != nil {
		t.Fatal(err)
	}
	if got := nextValue(t, next); got != "theirs" {
		t.Errorf("what was set reached our watcher as %q", got)
	}

	_, _, told, err := theirs.GetW(valuePath)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := value.Put(ctx, []byte("ours")); err != nil {
		t.Fatal(err)
	}
	if err := receiveEvent(ctx, told); err != nil {
		t.Fatal(err)
	}
	if data, _, err := theirs.Get(valuePath); err != nil || string(data) != "ours" {
		t.Errorf("our put is read as %q, %v", data, err)
	}
}

func receiveEvent(ctx context.Context, told <-chan zk.Event) error {
	select {
	case <-told:
		return nil
	case <-ctx.Done():
		return errors.New("their watcher was told nothing")
	}
}
