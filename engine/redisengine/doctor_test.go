package redisengine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// look examines a server as some user does, without the second in which its clock
// is watched.
func look(t *testing.T, s *redistest.Server, user, password string, change ...func(*examination)) []engine.Finding {
	t.Helper()
	x := &examination{t: transportTo(t, s, user, password)}
	for _, c := range change {
		c(x)
	}
	findings, err := x.run(t.Context(), time.Millisecond)
	if err != nil {
		t.Fatalf("examine: %v", err)
	}
	return findings
}

func transportTo(t *testing.T, s *redistest.Server, user, password string) Transport {
	t.Helper()
	o, _, err := clientOption(engine.Target{Scheme: schemeTCP, Hosts: []string{s.Addr}, User: user, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	c, err := connect(t.Context(), o, func() {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &rueidisTransport{client: c}
}

// with are the findings of a level whose What has a word in it.
func with(findings []engine.Finding, level engine.Level, word string) []engine.Finding {
	var found []engine.Finding
	for _, f := range findings {
		if f.Level == level && strings.Contains(f.What, word) {
			found = append(found, f)
		}
	}
	return found
}

func wantFinding(t *testing.T, findings []engine.Finding, level engine.Level, word string) {
	t.Helper()
	if len(with(findings, level, word)) != 1 {
		t.Errorf("want one %v about %q, have:\n%s", level, word, printed(findings))
	}
}

func printed(findings []engine.Finding) string {
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "%v: %s | %s | %s\n", f.Level, f.What, f.Why, f.Fix)
	}
	return b.String()
}

func worst(findings []engine.Finding) engine.Level {
	level := engine.LevelOK
	for _, f := range findings {
		level = max(level, f.Level)
	}
	return level
}

// set changes the server's configuration: name, value, name, value, and so on.
func set(t *testing.T, s *redistest.Server, pairs ...string) {
	t.Helper()
	s.MustDo(t, append([]string{"CONFIG", "SET"}, pairs...)...)
}

// safe makes a server that nothing can be said against.
func safe(t *testing.T) *redistest.Server {
	t.Helper()
	return redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
}

func TestDoctorHasNothingAgainstASafeServer(t *testing.T) {
	findings := look(t, safe(t), "", "")
	if level := worst(findings); level != engine.LevelOK {
		t.Errorf("the worst is %v:\n%s", level, printed(findings))
	}
	for _, word := range []string{
		"Redis 7", "no cluster", "master", "noeviction", "appendfsync is always", "no replicas", "round trip", "clock", "may do all",
	} {
		wantFinding(t, findings, engine.LevelOK, word)
	}
}

func TestDoctorFindsEvictionOfLocks(t *testing.T) {
	s := safe(t)
	for _, policy := range []string{
		"volatile-lru", "volatile-ttl", "volatile-random", "volatile-lfu", "allkeys-lru", "allkeys-random", "allkeys-lfu",
	} {
		set(t, s, "maxmemory-policy", policy, "maxmemory", "0")
		wantFinding(t, look(t, s, "", ""), engine.LevelNote, policy)
		set(t, s, "maxmemory", "100mb")
		wantFinding(t, look(t, s, "", ""), engine.LevelDanger, policy)
	}
	set(t, s, "maxmemory-policy", "noeviction", "maxmemory", "1mb")
	wantFinding(t, look(t, s, "", ""), engine.LevelWarning, "of maxmemory is used")
}

func TestDoctorSaysWhatACrashLoses(t *testing.T) {
	s := redistest.Start(t)
	wantFinding(t, look(t, s, "", ""), engine.LevelWarning, "nothing is written to disk")
	set(t, s, "save", "3600 1")
	wantFinding(t, look(t, s, "", ""), engine.LevelWarning, "appendonly is off")
	set(t, s, "appendonly", "yes")
	for fsync, level := range map[string]engine.Level{"everysec": engine.LevelWarning, "no": engine.LevelWarning, "always": engine.LevelOK} {
		set(t, s, "appendfsync", fsync)
		wantFinding(t, look(t, s, "", ""), level, "appendfsync is "+fsync)
	}
}

func TestDoctorKnowsReplicasAndWhatTheyMean(t *testing.T) {
	master := redistest.Start(t, "--repl-diskless-sync-delay", "0")
	replica := redistest.Start(t, "--replicaof", "127.0.0.1 "+strconv.Itoa(master.Port))
	await(t, "the replica connects", func() bool {
		return strings.Contains(master.MustDo(t, "INFO", "replication").(string), "state=online")
	})
	wantFinding(t, look(t, master, "", ""), engine.LevelWarning, "1 replica")
	wantFinding(t, look(t, replica, "", ""), engine.LevelDanger, "it is a replica")
}

// await polls: servers tell nobody when they have got somewhere.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestDoctorFindsLimitsThatEndConnections(t *testing.T) {
	s := safe(t)
	for _, c := range []struct {
		name, value, word string
		level             engine.Level
	}{
		{"timeout", "10", "timeout is 10", engine.LevelNote},
		{"tcp-keepalive", "0", "tcp-keepalive", engine.LevelNote},
		{"client-output-buffer-limit", "pubsub 1000 1000 1", "client-output-buffer-limit", engine.LevelWarning},
		{"lua-time-limit", "0", "lua-time-limit", engine.LevelNote},
		{"maxclients", "6", "maxclients", engine.LevelWarning},
	} {
		set(t, s, c.name, c.value)
		wantFinding(t, look(t, s, "", ""), c.level, c.word)
	}
}

func TestDoctorFindsABusyScript(t *testing.T) {
	s := redistest.Start(t)
	set(t, s, "lua-time-limit", "1")
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = s.Do("EVAL", "while true do end", "0")
	}()
	await(t, "the server is busy", func() bool {
		_, err := s.Do("PING")
		return err != nil && strings.HasPrefix(err.Error(), "BUSY")
	})
	findings := look(t, s, "", "")
	s.MustDo(t, "SCRIPT", "KILL")
	<-done
	wantFinding(t, findings, engine.LevelDanger, "a script has been running")
}

// mostly is a user who may do all but one thing, as ACL SETUSER has it.
func mostly(t *testing.T, s *redistest.Server, rules ...string) (user, password string) {
	t.Helper()
	s.MustDo(t, append([]string{"ACL", "SETUSER", "mostly", "reset", "on", ">geheim", "~*", "&*", "+@all"}, rules...)...)
	return "mostly", "geheim"
}

// Each command that may not be sent is found, by asking and by trying.
func TestDoctorFindsEachMissingPermission(t *testing.T) {
	s := redistest.Start(t)
	for _, try := range []bool{false, true} {
		tried := func(x *examination) { x.tryAll = try }
		user, password := mostly(t, s)
		wantFinding(t, look(t, s, user, password, tried), engine.LevelOK, "may do all")
		for _, p := range needed() {
			if p.channel || try && p.command == "UNSUBSCRIBE" {
				continue
			}
			mostly(t, s, "-"+strings.ToLower(p.command))
			findings := look(t, s, user, password, tried)
			found := with(findings, engine.LevelDanger, "may not run "+p.command)
			if len(found) != 1 || found[0].What != "this user may not run "+p.command {
				t.Errorf("%s, tried %v:\n%s", p.command, try, printed(findings))
			}
		}
		mostly(t, s, "resetchannels", "&lockstep:client:*", "&lockstep:line:*")
		wantFinding(t, look(t, s, user, password, tried), engine.LevelDanger, "PUBLISH lockstep:map:*, SUBSCRIBE lockstep:map:*")
		mostly(t, s, "resetkeys", "~app/*", "~{app/*")
		wantFinding(t, look(t, s, user, password, tried), engine.LevelWarning, "may not use a key")
		wantFinding(t, look(t, s, user, password, tried, func(x *examination) { x.prefix = "app/" }), engine.LevelOK, "may do all")
		mostly(t, s, "-eval")
		wantFinding(t, look(t, s, user, password, tried), engine.LevelDanger, "may not run scripts")
	}
}

func TestDoctorSaysWhatItMayNotLookAt(t *testing.T) {
	s := safe(t)
	user, password := mostly(t, s, "-info", "-config", "-acl", "-client", "-slowlog")
	findings := look(t, s, user, password)
	if worst(findings) != engine.LevelNote {
		t.Errorf("what cannot be seen is a note:\n%s", printed(findings))
	}
	wantFinding(t, findings, engine.LevelNote, "INFO (NOPERM")
	wantFinding(t, findings, engine.LevelNote, "CONFIG GET (NOPERM")
	wantFinding(t, findings, engine.LevelOK, "Redis 7") // HELLO tells everybody
	wantFinding(t, findings, engine.LevelOK, "it is a master")
}

func TestDoctorChangesNothing(t *testing.T) {
	s := redistest.Start(t)
	changes := func() string { return lines(s.MustDo(t, "INFO").(string))["rdb_changes_since_last_save"] }
	before := changes()
	look(t, s, "", "")
	if after := changes(); after != before {
		t.Errorf("%s changes of the data became %s", before, after)
	}
	look(t, s, "", "", func(x *examination) { x.tryAll = true })
	if n := s.MustDo(t, "DBSIZE"); n != int64(0) {
		t.Errorf("%v keys are left", n)
	}
}

// What scripts and the engine send is asked for, and nothing else.
func TestDoctorAsksForWhatIsSent(t *testing.T) {
	sent := map[string]bool{"EVALSHA": true, "SUBSCRIBE": true, "UNSUBSCRIBE": true} // by the transport and in script.go
	collect := func(files []string, pattern string) {
		for _, name := range files {
			source, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(source), -1) {
				sent[m[1]] = true
			}
		}
	}
	collect(glob(t, "lua/*.lua"), `redis\.p?call\(\s*'(\w+)'`)
	collect(slices.DeleteFunc(glob(t, "*.go"), func(name string) bool {
		return strings.HasPrefix(name, "doctor") || strings.HasSuffix(name, "_test.go")
	}), `(?:Args: \[\]string\{|\bdo\(ctx, )"([A-Z]+)"`)
	asked := map[string]bool{}
	for _, p := range needed() {
		asked[p.command] = true
		if !sent[p.command] {
			t.Errorf("%s is asked for, and nobody sends it", p.command)
		}
	}
	for c := range sent {
		if !asked[c] {
			t.Errorf("%s is sent, and the doctor does not ask for it", c)
		}
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v, %v", pattern, files, err)
	}
	return files
}

func TestDoctorTellsProductsAndVersionsApart(t *testing.T) {
	for _, c := range []struct {
		info, hello map[string]string
		level       engine.Level
		what        string
	}{
		{map[string]string{"redis_version": "7.0.15"}, nil, engine.LevelOK, "Redis 7.0.15"},
		{map[string]string{"redis_version": "6.2.0"}, nil, engine.LevelOK, "Redis 6.2.0"},
		{map[string]string{"redis_version": "6.0.16"}, nil, engine.LevelDanger, "Redis 6.0.16"},
		{map[string]string{"redis_version": "10.1"}, nil, engine.LevelOK, "Redis 10.1"},
		{map[string]string{"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "8.0.1"}, nil, engine.LevelOK, "Valkey 8.0.1"},
		{nil, map[string]string{"server": "valkey", "version": "8.0.1"}, engine.LevelOK, "Valkey 8.0.1"},
		{nil, map[string]string{"server": "redis", "version": "5.0.7"}, engine.LevelDanger, "Redis 5.0.7"},
		{map[string]string{"dragonfly_version": "df-v1.2", "redis_version": "7.4.0"}, nil, engine.LevelWarning, "Dragonfly"},
		{nil, nil, engine.LevelNote, "could not be learned"},
	} {
		x := &examination{info: c.info, hello: c.hello}
		x.version()
		wantFinding(t, x.findings, c.level, c.what)
	}
}

func TestDoctorLooksAtWhoCanConnect(t *testing.T) {
	guarded := map[string]string{"protected-mode": "yes", "bind": "* -::*"}
	unguarded := map[string]string{"protected-mode": "no", "bind": "* -::*"}
	bound := map[string]string{"protected-mode": "no", "bind": "127.0.0.1 -::1"}
	for name, c := range map[string]struct {
		at     string
		open   bool
		config map[string]string
		level  engine.Level
		what   string
	}{
		"password":          {"10.0.0.1:6379", false, nil, engine.LevelOK, "needs a password"},
		"open to the world": {"10.0.0.1:6379", true, nil, engine.LevelDanger, "anybody who reaches 10.0.0.1:6379"},
		"open to the host":  {"127.0.0.1:6379", true, guarded, engine.LevelOK, "this host only"},
		"a socket":          {"/run/redis.sock:0", true, bound, engine.LevelOK, "this host only"},
		"unprotected":       {"[::1]:6379", true, unguarded, engine.LevelDanger, "protected-mode no"},
		"without TLS":       {"10.0.0.1:6379", false, map[string]string{"tls-port": "0"}, engine.LevelWarning, "not encrypted"},
		"with TLS":          {"10.0.0.1:6380", false, map[string]string{"tls-port": "6380"}, engine.LevelOK, "encrypted"},
		"TLS not known":     {"10.0.0.1:6380", false, nil, engine.LevelNote, "encrypted could not be learned"},
	} {
		t.Run(name, func(t *testing.T) {
			x := &examination{client: map[string]string{"laddr": c.at}, user: "default", open: c.open, openSeen: true, config: c.config}
			x.reach()
			wantFinding(t, x.findings, c.level, c.what)
		})
	}
}

func TestDoctorKnowsHowTheServerIsReached(t *testing.T) {
	s := redistest.StartWith(t, redistest.Options{Password: "geheim"})
	findings := look(t, s, "", "geheim")
	wantFinding(t, findings, engine.LevelOK, "needs a password")
	if strings.Contains(printed(findings), "geheim") {
		t.Errorf("the password shows:\n%s", printed(findings))
	}
	wantFinding(t, look(t, redistest.Start(t), "", ""), engine.LevelOK, "this host only")
}

func TestDoctorFindsAStepOfTheClock(t *testing.T) {
	start := time.Now()
	at := func(here, there time.Duration) clockReading {
		return clockReading{start.Add(here), start.Add(here + time.Millisecond), start.Add(there)}
	}
	for name, c := range map[string]struct {
		first, second clockReading
		level         engine.Level
		what          string
	}{
		"in step":     {at(0, 0), at(time.Second, time.Second), engine.LevelOK, "its clock is"},
		"forward":     {at(0, 0), at(time.Second, 61*time.Second), engine.LevelDanger, "moved by 1m1s while 1s passed"},
		"back":        {at(0, 0), at(time.Second, -59*time.Second), engine.LevelDanger, "moved by -59s while 1s passed"},
		"at 2 % more": {at(0, 0), at(10*time.Second, 10200*time.Millisecond), engine.LevelDanger, "moved by"},
		"a minute on": {at(0, 2*time.Minute), at(time.Second, 2*time.Minute+time.Second), engine.LevelWarning, "2m0s ahead of"},
		"hours back":  {at(0, -2*time.Hour), at(time.Second, -2*time.Hour+time.Second), engine.LevelDanger, "2h0m0.001s behind"},
	} {
		t.Run(name, func(t *testing.T) {
			x := new(examination)
			x.sayClock(c.first, c.second)
			wantFinding(t, x.findings, c.level, c.what)
			if c.level < engine.LevelDanger && len(with(x.findings, engine.LevelDanger, "moved")) > 0 {
				t.Errorf("a step that was none:\n%s", printed(x.findings))
			}
		})
	}
}

func TestDoctorReadsTheSlowLogWithoutOthersData(t *testing.T) {
	s := redistest.Start(t)
	set(t, s, "slowlog-log-slower-than", "0")
	s.MustDo(t, "SET", "somebody", "geheim")
	x := &examination{t: transportTo(t, s, "", "")}
	if err := x.ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	if x.slowest.took <= 0 || x.slowest.name == "" || strings.Contains(fmt.Sprint(x.slowest), "geheim") {
		t.Errorf("%+v", x.slowest)
	}
	x.slowest = slowCommand{"KEYS", 3 * time.Second}
	x.stalls()
	wantFinding(t, x.findings, engine.LevelWarning, "a command took 3s (KEYS")
}

// What Open refuses is a finding; a server that is not there, or a password that is
// wrong, is an error that does not show the password.
func TestDoctorExaminesWhatOpenRefuses(t *testing.T) {
	s := redistest.Start(t)
	user, password := mostly(t, s, "resetchannels")
	target := engine.Target{Scheme: schemeTCP, Hosts: []string{s.Addr}, User: user, Password: password}
	if e, err := Driver.Open(t.Context(), target); !errors.Is(err, engine.ErrUnusable) || !strings.Contains(err.Error(), "permissions") {
		t.Errorf("open: %v, %v", e, err)
	}
	findings, err := engine.Drivers{Driver}.Examine(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	wantFinding(t, findings, engine.LevelDanger, "SUBSCRIBE lockstep:client:*")

	target.Password = "falsch und geheim"
	_, err = (engine.Drivers{Driver}).Examine(t.Context(), target)
	if !errors.Is(err, engine.ErrUnusable) || strings.Contains(err.Error(), "geheim") {
		t.Errorf("a wrong password: %v", err)
	}
	s.Stop()
	if _, err := (engine.Drivers{Driver}).Examine(t.Context(), target); err == nil || engine.Definite(err) {
		t.Errorf("a server that is not there: %v", err)
	}
}

func TestDoctorObeysItsContext(t *testing.T) {
	s := redistest.Start(t)
	transport := transportTo(t, s, "", "")
	s.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := examine(ctx, transport, "", time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a server that stands still: %v", err)
	}
	s.Continue()
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := examine(ctx, transport, "", time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while the clock is watched: %v", err)
	}
}

func TestEngineExaminesItsServer(t *testing.T) {
	s := redistest.Start(t)
	e, err := Driver.Open(t.Context(), engine.Target{Scheme: schemeTCP, Hosts: []string{s.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	findings, err := e.(engine.Doctor).Examine(t.Context())
	if err != nil || !slices.IsSortedFunc(findings, func(a, b engine.Finding) int { return int(b.Level) - int(a.Level) }) {
		t.Errorf("%v\n%s", err, printed(findings))
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.(engine.Doctor).Examine(t.Context()); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestAddressesOfThisHostAreKnown(t *testing.T) {
	for at, want := range map[string]bool{
		"127.0.0.1:6379": true, "127.0.0.53:1": true, "[::1]:6379": true, "::1:6379": true, "/run/redis.sock:0": true,
		"10.0.0.1:6379": false, "[fd00::1]:6379": false, "[::ffff:127.0.0.1]:6379": true, "": false, net.JoinHostPort("192.0.2.1", "6379"): false,
	} {
		if got := isLocal(at); got != want {
			t.Errorf("%q: %v", at, got)
		}
	}
}
