package redisengine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/redisengine/internal/keys"
)

// The doctor looks at a server in four ways, a file each: how it is set up
// (doctor_setup.go), who can reach it (doctor_reach.go), what its user may do
// (doctor_permissions.go), and what its clock does (doctor_clock.go). Here is
// what they share: how facts are asked for, and what is said of those that this
// user may not ask for.
//
// Facts come from HELLO, which every user may send, and from INFO and CONFIG,
// which many may not: managed services switch CONFIG off, and the user that
// docs/engines/redis.md recommends has neither.

var _ engine.Doctor = (*Engine)(nil)

// Examine looks at what makes this server unsafe for locks. It takes a second, in
// which it watches the server's clock. Whoever may send INFO and CONFIG GET learns
// more.
func (e *Engine) Examine(ctx context.Context) ([]engine.Finding, error) {
	if e.isOver() {
		return nil, engine.ErrClosed
	}
	findings, err := examine(ctx, e.t, e.prefix, clockWatch)
	return findings, e.explain(err)
}

// examine does not need an engine: one that cannot be opened is examined too.
func examine(ctx context.Context, t Transport, prefix string, watch time.Duration) ([]engine.Finding, error) {
	x := &examination{t: t, prefix: prefix}
	return x.run(ctx, watch)
}

func (x *examination) run(ctx context.Context, watch time.Duration) ([]engine.Finding, error) {
	err := x.ask(ctx)
	if code(err) == "BUSY" {
		x.say(engine.LevelDanger, "a script has been running for longer than lua-time-limit",
			"Nothing else is answered until it ends: no lock can be taken, renewed or released.", "SCRIPT KILL, and find who sent it.")
		return x.findings, nil
	}
	if err != nil {
		return nil, err
	}
	first, err := x.readClock(ctx)
	if err != nil {
		return nil, err
	}
	x.setup()
	x.reach()
	if err := x.permissions(ctx); err != nil {
		return nil, err
	}
	if err := x.clock(ctx, first, watch); err != nil {
		return nil, err
	}
	x.unseen()
	slices.SortStableFunc(x.findings, func(a, b engine.Finding) int { return int(b.Level) - int(a.Level) })
	return x.findings, nil
}

// examination is one look at one server.
type examination struct {
	t        Transport
	prefix   string
	hello    map[string]string
	info     map[string]string
	config   map[string]string
	client   map[string]string // of our own connection
	user     string
	open     bool // the default user has no password
	openSeen bool // and somebody told us whether
	slowest  slowCommand
	votes    bool // it is one of several masters that vote
	tryAll   bool // commands are tried also where the server could be asked
	findings []engine.Finding
	hidden   []string // what this user may not look at, with the reason
}

func (x *examination) say(level engine.Level, what, why, fix string) {
	x.findings = append(x.findings, engine.Finding{Level: level, What: what, Why: why, Fix: fix})
}

func (x *examination) ok(format string, args ...any) {
	x.say(engine.LevelOK, fmt.Sprintf(format, args...), "", "")
}

// parameters are those of CONFIG that matter. They are asked for one by one:
// before 7.0 CONFIG GET takes one at a time.
var parameters = []string{
	"appendfsync", "save", "tls-port", "bind", "protected-mode", "timeout", "tcp-keepalive",
	"client-output-buffer-limit", "lua-time-limit", "min-replicas-to-write", "stop-writes-on-bgsave-error",
}

// ask collects the facts in one round trip. What was refused is left out, and
// said at the end; an error is of the connection.
func (x *examination) ask(ctx context.Context) error {
	commands := []Command{
		{Args: []string{"HELLO"}},
		{Args: []string{"INFO", "everything"}},
		{Args: []string{"CLIENT", "INFO"}},
		{Args: []string{"ACL", "WHOAMI"}},
		{Args: []string{"ACL", "GETUSER", "default"}},
		{Args: []string{"SLOWLOG", "GET", "128"}},
	}
	fixed := len(commands)
	for _, p := range parameters {
		commands = append(commands, Command{Args: []string{"CONFIG", "GET", p}})
	}
	results := x.t.Do(ctx, commands...)
	for _, r := range results {
		if err := broken(r.Err); err != nil {
			return err
		}
	}
	x.hello = pairs(results[0].Value)
	x.info = lines(text(results[1]))
	x.client = words(text(results[2]))
	x.user = text(results[3])
	x.open, x.openSeen = withoutPassword(results[4].Value)
	x.slowest = slowestOf(results[5].Value)
	x.config = make(map[string]string)
	for _, r := range results[fixed:] {
		maps.Copy(x.config, pairs(r.Value))
	}
	for i, name := range []string{1: "INFO", 2: "CLIENT INFO", 4: "ACL GETUSER", 5: "SLOWLOG"} {
		if name != "" {
			x.note(name, results[i].Err)
		}
	}
	x.note("CONFIG GET", results[fixed].Err)
	return nil
}

// broken is an error that ends the examination: all but what the server answered,
// and an answer that all would get.
func broken(err error) error {
	switch code(err) {
	case "":
		return err
	case "NOAUTH", "WRONGPASS", "LOADING", "BUSY", "MASTERDOWN":
		return err
	}
	return nil
}

// note remembers what could not be looked at.
func (x *examination) note(name string, err error) {
	if err != nil {
		x.hidden = append(x.hidden, fmt.Sprintf("%s (%v)", name, err))
	}
}

// unseen says once what this user may not look at.
func (x *examination) unseen() {
	if len(x.hidden) == 0 {
		return
	}
	x.say(engine.LevelNote, "not all could be looked at: this server refused "+strings.Join(x.hidden, ", "),
		"What these would have shown (eviction, persistence, replicas, limits, as far as no finding speaks of them) is not known. "+
			"Locks need none of them.",
		"Examine it once more as a user who may send INFO and CONFIG GET, or look at the provider's settings.")
}

// text is a reply as text; "": there is none.
func text(r Result) string {
	s, _ := r.Value.(string)
	return s
}

// pairs reads a reply of names and values, as RESP2 (a list) or RESP3 (a map)
// has it. Values that are no text are left out.
func pairs(v any) map[string]string {
	m := make(map[string]string)
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			if s, ok := value.(string); ok {
				m[name] = s
			}
		}
	case []any:
		for i := 0; i+1 < len(v); i += 2 {
			name, ok1 := v[i].(string)
			value, ok2 := v[i+1].(string)
			if ok1 && ok2 {
				m[name] = value
			}
		}
	}
	return m
}

// lines reads what INFO answers: name:value, one a line.
func lines(s string) map[string]string {
	m := make(map[string]string)
	for line := range strings.Lines(s) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			m[name] = value
		}
	}
	return m
}

// words reads what CLIENT INFO answers: name=value, one a word.
func words(s string) map[string]string {
	m := make(map[string]string)
	for word := range strings.FieldsSeq(s) {
		if name, value, ok := strings.Cut(word, "="); ok {
			m[name] = value
		}
	}
	return m
}

var errReply = errors.New("a reply of another form than expected")

// Examine connects and examines. What Open would refuse for want of permissions is
// a finding here.
func (redisDriver) Examine(ctx context.Context, t engine.Target) ([]engine.Finding, error) {
	o, opts, err := clientOption(t)
	if err != nil {
		return nil, err
	}
	chosen, err := chosenOptions(opts)
	if err != nil {
		return nil, err
	}
	c, err := connect(ctx, o, func() {})
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", strings.Join(o.InitAddress, ","), explain(fromRueidis(err)))
	}
	transport := &rueidisTransport{client: c, owned: true}
	findings, err := examine(ctx, transport, chosen.prefix, clockWatch)
	return findings, errors.Join(explain(err), transport.Close())
}

func chosenOptions(opts []Option) (options, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	return o, keys.CheckPrefix(o.prefix)
}

var _ engine.DoctorDriver = redisDriver{}
