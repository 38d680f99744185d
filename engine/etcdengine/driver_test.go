package etcdengine

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/etcdtest"
)

func target(t *testing.T, url string) engine.Target {
	t.Helper()
	to, err := lockstep.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func TestAURLSaysWhatItMayAndNoMore(t *testing.T) {
	for _, url := range []string{
		"etcd:", "etcd://h?no=such", "etcd://h?timeout=soon", "etcd://h?dial-timeout=1ms", "etcd://u@h", "etcd://:secret@h",
		"etcd://h?tls=perhaps", "etcd://h?cert=a", "etcd://h?ca=/no/such", "etcd://h?cert=/no/such&key=/no/such",
	} {
		_, err := Driver.Open(t.Context(), target(t, url))
		if !errors.Is(err, engine.ErrInvalid) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want ErrInvalid", url, err)
		}
	}
	o, err := options(target(t, "etcd://u:secret@a,b:1,[::1]/teams/one/?timeout=1s&dial-timeout=2s&server-name=n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(o.config.Endpoints, " "); got != "a:2379 b:1 [::1]:2379" {
		t.Errorf("endpoints %q", got)
	}
	if o.prefix != "/teams/one/" || o.timeout != time.Second || o.config.DialTimeout != 2*time.Second || o.config.TLS.ServerName != "n" {
		t.Errorf("%+v", o)
	}
}

func TestAServerThatIsNotThereIsToldInTime(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	to := target(t, "etcd://"+ln.Addr().String()+"?dial-timeout=500ms")
	if _, err := Driver.Open(t.Context(), to); err == nil || !strings.Contains(err.Error(), "connect to "+ln.Addr().String()) {
		t.Errorf("Open: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Driver.Open(ctx, to); !errors.Is(err, context.Canceled) {
		t.Errorf("Open with a context that is done: %v", err)
	}
}

// A member that is away is dialled again and again: in the end twice a second, where
// grpc by itself would pause for longer than sessions live; and never in a busy loop.
func TestAMemberThatIsAwayIsDialledSoonAndNotWithoutAPause(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	o, err := options(target(t, "etcd://"+ln.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	c, err := connect(t.Context(), o.config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	stop := time.AfterFunc(patience, func() { ln.Close() })
	defer stop.Stop()
	c.ActiveConnection().Connect()
	var first time.Time
	for i := range 9 { // by grpc's own pauses it would take 70 s
		conn, err := ln.Accept()
		if err != nil {
			t.Fatalf("dialled %d times in %v", i, patience)
		}
		conn.Close()
		if i == 0 {
			first = time.Now()
		}
	}
	if took := time.Since(first); took < time.Second {
		t.Errorf("dialled 9 times in %v", took)
	}
}

// With a prefix everything is under it, Lockstep's own keys too.
func TestAPrefixHoldsEverything(t *testing.T) {
	t.Parallel()
	s := start(t)
	e, err := open(guarded(t), target(t, s.URL()+"/teams/one?"+patient))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	c := begin(t, e, engine.SessionOptions{})
	c.take(election("leads"))
	if _, err := e.Store().Commit(c.ctx, "m", engine.Tx{ID: "1", Put: []engine.Entry{{Key: "k"}}}); err != nil {
		t.Fatal(err)
	}
	r, err := admin(t, s.Addr).Get(c.ctx, "", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil || len(r.Kvs) != 5 {
		t.Errorf("%d keys, want a session, a claim, its token, an entry and the commit's id; %v", len(r.Kvs), err)
	}
	for _, kv := range r.Kvs {
		if !strings.HasPrefix(string(kv.GetKey()), "/teams/one/") {
			t.Errorf("%q is outside of the prefix", kv.GetKey())
		}
	}
	for name, err := range e.Names(c.ctx, "") {
		if err != nil || name != "n" {
			t.Errorf("Names: %q, %v", name, err)
		}
	}
}

// permit has the server want a user: one who may do all, and one of the page's rights.
func permit(t *testing.T, s *etcdtest.Member) {
	t.Helper()
	a, ctx := admin(t, s.Addr), guarded(t)
	var errs []error
	note := func(_ any, err error) { errs = append(errs, err) }
	note(a.UserAdd(ctx, "root", "rootsecret"))
	note(a.UserGrantRole(ctx, "root", "root"))
	note(a.RoleAdd(ctx, "lockstep"))
	note(a.RoleGrantPermission(ctx, "lockstep", "/locks/", clientv3.GetPrefixRangeEnd("/locks/"), clientv3.PermissionType(clientv3.PermReadWrite)))
	note(a.UserAdd(ctx, "lockstep", "secret"))
	note(a.UserGrantRole(ctx, "lockstep", "lockstep"))
	note(a.AuthEnable(ctx))
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestAUserOfOnePrefixSuffices(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t, append([]string{"--bcrypt-cost", "4"}, unsafe...)...)
	permit(t, s)
	url := "etcd://lockstep:secret@" + s.Addr + "/locks?" + patient
	e, err := open(guarded(t), target(t, url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	c := begin(t, e, engine.SessionOptions{})
	held, term := mutex("n"), mutex("term")
	term.Term = time.Minute
	c.take(held)
	c.take(term)
	q := c.queue(mutex("n"))
	if r, err := c.Renew(c.ctx, []*engine.Claim{held, term, q.claim}); err != nil || len(r.Lost) > 0 {
		t.Errorf("Renew: %+v, %v", r, err)
	}
	c.give(held)
	q.granted()
	c.give(term)
	for ev, err := range e.Store().Watch(c.ctx, "m", 0) {
		if err != nil {
			t.Fatal(err)
		}
		if ev.Full {
			_, err := e.Store().Commit(c.ctx, "m", engine.Tx{ID: "1", Put: []engine.Entry{{Key: "k"}}})
			if err != nil {
				t.Fatal(err)
			}
		}
		if !ev.Full && len(ev.Entries) > 0 {
			break
		}
	}
	if err := c.End(c.ctx, nil); err != nil {
		t.Errorf("End: %v", err)
	}
	e.prefix = "/others/"
	for ev, err := range e.Store().Watch(c.ctx, "m", 1) {
		if !errors.Is(err, engine.ErrUnusable) {
			t.Errorf("a watch of what the user may not read: %+v, %v, want ErrUnusable", ev, err)
			break
		}
	}
	for what, url := range map[string]string{
		"no user":        "etcd://" + s.Addr + "/locks?" + patient,
		"wrong password": "etcd://lockstep:secre@" + s.Addr + "/locks?" + patient,
		"another prefix": "etcd://lockstep:secret@" + s.Addr + "/others?" + patient,
	} {
		_, err := Driver.Open(guarded(t), target(t, url))
		if !errors.Is(err, engine.ErrUnusable) || strings.Contains(err.Error(), "secre") {
			t.Errorf("%s: %v, want ErrUnusable", what, err)
		}
	}
}

func TestAnAuthTokenThatExpiresIsRenewed(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t, append([]string{"--bcrypt-cost", "4", "--auth-token-ttl", "1"}, unsafe...)...)
	permit(t, s)
	client, err := lockstep.Open(guarded(t), "etcd://lockstep:secret@"+s.Addr+"/locks?"+patient, Driver, lockstep.WithTTL(20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	ctx := guarded(t)
	l, err := client.Mutex("n").Lock(ctx)
	if err != nil {
		t.Fatal(err)
	}
	until := l.Until()
	await(t, "a renewal after the token's end", func() bool { return l.Until().After(until.Add(3 * time.Second)) })
	if err := l.Release(ctx); err != nil {
		t.Errorf("Release: %v", err)
	}
	if _, err := client.Map("m").Put(ctx, "k", nil); err != nil {
		t.Errorf("Put: %v", err)
	}
}

// authority signs certificates into a folder.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.issue("ca", nil)
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// issue writes name.crt and name.key.
func (a *authority) issue(name string, usage []x509.ExtKeyUsage) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, ExtKeyUsage: usage,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: a.cert == nil,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	if a.cert == nil {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			a.t.Fatal(err)
		}
		a.key = key
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "EC PRIVATE KEY", Bytes: raw},
	} {
		if err := os.WriteFile(a.path(name+file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
}

func TestTLSWithACertificateOfTheClient(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.issue("server", []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth})
	a.issue("client", []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth})
	s := etcdtest.StartWith(t, etcdtest.Options{Scheme: "https", Args: append([]string{
		"--cert-file", a.path("server.crt"), "--key-file", a.path("server.key"),
		"--client-cert-auth", "--trusted-ca-file", a.path("ca.crt"),
	}, unsafe...)}).Members[0]
	good := s.URL() + "?ca=" + a.path("ca.crt") + "&cert=" + a.path("client.crt") + "&key=" + a.path("client.key")
	e, err := open(guarded(t), target(t, good+"&"+patient))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	c := begin(t, e, engine.SessionOptions{})
	c.take(mutex("n"))

	other := newAuthority(t)
	for what, url := range map[string]string{
		"no TLS":            s.URL() + "?dial-timeout=1s",
		"no certificate":    s.URL() + "?dial-timeout=1s&ca=" + a.path("ca.crt"),
		"another authority": strings.Replace(good, a.path("ca.crt"), other.path("ca.crt"), 1) + "&dial-timeout=1s",
	} {
		if _, err := Driver.Open(guarded(t), target(t, url)); err == nil {
			t.Errorf("%s: opened", what)
		}
	}
}
