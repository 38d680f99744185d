package etcdengine

import (
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/etcdtest"
)

// examined is what the doctor finds, by levels. Each thing that does not answer costs a
// timeout.
func examined(t *testing.T, timeout string, addrs ...string) map[engine.Level]string {
	t.Helper()
	findings, err := engine.Drivers{Driver}.Examine(guarded(t), engine.Target{
		Scheme: scheme, Hosts: addrs, Params: map[string]string{"timeout": timeout},
	})
	if err != nil {
		t.Fatal(err)
	}
	by, last := map[engine.Level]string{}, engine.LevelDanger
	for _, f := range findings {
		if f.Level > last {
			t.Errorf("%v after %v", f.Level, last)
		}
		last = f.Level
		by[f.Level] += f.What + "\n"
	}
	return by
}

func want(t *testing.T, by map[engine.Level]string, level engine.Level, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(by[level], part) {
			t.Errorf("no %v says %q: %v", level, part, by)
		}
	}
}

func TestDoctorOfAHealthyClusterChangesNothing(t *testing.T) {
	t.Parallel()
	c := etcdtest.StartWith(t, etcdtest.Options{Members: 3, Args: unsafe})
	a := admin(t, c.Addrs()...)
	compact(t, a)
	before, err := a.Leases(guarded(t))
	if err != nil {
		t.Fatal(err)
	}
	by := examined(t, "40s", c.Addrs()...)
	want(t, by, engine.LevelOK, "the cluster has 3 members", "a quorum answers", "no alarm", "leases are granted", "is etcd 3.7")
	if by[engine.LevelDanger]+by[engine.LevelWarning] != "" {
		t.Errorf("a healthy cluster: %v", by)
	}
	r, err := a.Get(guarded(t), "", clientv3.WithPrefix())
	if err != nil || len(r.Kvs) > 0 {
		t.Errorf("it left %v, %v", r.Kvs, err)
	}
	after, err := a.Leases(guarded(t))
	if err != nil || len(after.Leases) != len(before.Leases) {
		t.Errorf("it left leases: %v, %v", after, err)
	}
}

func TestDoctorFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t, append([]string{"--quota-backend-bytes", "4000000"}, unsafe...)...)
	a := admin(t, s.Addr)
	for {
		if _, err := a.Put(guarded(t), "fill", strings.Repeat("x", 500_000)); err != nil {
			break
		}
	}
	by := examined(t, "40s", s.Addr)
	want(t, by, engine.LevelDanger, "alarm NOSPACE", "no lease is granted")
	want(t, by, engine.LevelWarning, "the cluster has one member", "of 3 MiB")
	want(t, by, engine.LevelNote, "revisions was compacted")
}

func TestDoctorFindsMembersThatAreAway(t *testing.T) {
	t.Parallel()
	c := etcdtest.StartWith(t, etcdtest.Options{Members: 3, Args: unsafe})
	c.Members[1].Kill()
	want(t, examined(t, "2s", c.Addrs()...), engine.LevelWarning, "member "+c.Members[1].Addr+" does not answer")
	c.Members[2].Kill()
	want(t, examined(t, "2s", c.Addrs()...), engine.LevelDanger, "a read that needs a quorum fails")
	c.Members[0].Kill()
	_, err := engine.Drivers{Driver}.Examine(guarded(t), engine.Target{Scheme: scheme, Hosts: c.Addrs(), Params: map[string]string{"timeout": "1s"}})
	if err == nil || !strings.Contains(err.Error(), "connect to") {
		t.Errorf("nobody answers: %v", err)
	}
}

func TestDoctorKnowsOldVersions(t *testing.T) {
	t.Parallel()
	c := etcdtest.StartWith(t, etcdtest.Options{Program: etcdtest.Debian})
	want(t, examined(t, "40s", c.Addrs()...), engine.LevelNote, "is etcd 3.4")
}
