package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/etcdengine"
	"github.com/lockstep-go/lockstep/engine/redisengine"
	"github.com/lockstep-go/lockstep/engine/redisengine/redlock"
	"github.com/lockstep-go/lockstep/engine/sqliteengine"
	"github.com/lockstep-go/lockstep/engine/zkengine"
)

// drivers are the engines that the command knows. "mem:" is not among them: what is
// inside one process excludes nobody.
var drivers = engine.Drivers{sqliteengine.Driver, redisengine.Driver, redlock.Driver, etcdengine.Driver, zkengine.Driver}

const (
	envURL      = "LOCKSTEP_URL"
	envPassword = "LOCKSTEP_PASSWORD"
	envTick     = "LOCKSTEP_TICK" // of cron's command
	envID       = "LOCKSTEP_ID"   // of join's
)

// with runs f with a client of the engine that the user chose.
func (a *app) with(ctx context.Context, f func(*lockstep.Client) error, opts ...lockstep.Option) (err error) {
	raw, err := a.url()
	if err != nil {
		return err
	}
	target, err := a.target(raw)
	if err != nil {
		return err
	}
	a.note("engine %s", withoutPassword(raw))
	e, err := drivers.Open(ctx, target)
	if err != nil {
		return fmt.Errorf("engine %s: %w", withoutPassword(raw), err)
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	c, err := lockstep.New(e, append([]lockstep.Option{lockstep.WithLogger(a.logger())}, opts...)...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return f(c)
}

// url is the engine's, as the user gave it.
func (a *app) url() (string, error) {
	if a.engine != "" {
		return a.engine, nil
	}
	if u := os.Getenv(envURL); u != "" {
		return u, nil
	}
	dir, err := stateDir()
	if err != nil {
		return "", &exitError{codeUnavailable, fmt.Errorf("no place for locks: %w; give --engine URL or set %s", err, envURL)}
	}
	slashed := filepath.ToSlash(filepath.Join(dir, "lockstep"))
	if !strings.HasPrefix(slashed, "/") { // C:/…
		slashed = "/" + slashed
	}
	return (&url.URL{Scheme: "file", Path: slashed}).String(), nil
}

// stateDir is where this user's programs keep what is neither configuration nor
// cache.
func stateDir() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return dir, nil
	}
	if runtime.GOOS == "windows" {
		return os.UserCacheDir() // %LocalAppData%, which is not for caches alone
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	if runtime.GOOS == "darwin" {
		return filepath.Join(home, "Library", "Application Support"), nil
	}
	return filepath.Join(home, ".local", "state"), nil
}

// target is the URL with the password from where passwords belong.
func (a *app) target(raw string) (engine.Target, error) {
	t, err := lockstep.ParseURL(raw)
	if err != nil {
		return t, err
	}
	if t.Password != "" {
		a.warn("a password in the engine's URL is seen by everybody on this host: put it into --password-file or " + envPassword)
	}
	password, err := a.password(t.Scheme)
	if password != "" {
		t.Password = password
	}
	return t, err
}

func (a *app) password(scheme string) (string, error) {
	if a.passwordFile == "" {
		if scheme == "file" { // what is in the environment is for an engine that has passwords
			return "", nil
		}
		return os.Getenv(envPassword), nil
	}
	content, err := os.ReadFile(a.passwordFile)
	if err != nil {
		return "", usage("--password-file: %w", err)
	}
	first, _, _ := strings.Cut(string(content), "\n")
	return strings.TrimSuffix(first, "\r"), nil
}

func (a *app) warn(text string) {
	if !a.json {
		fmt.Fprintf(a.err, "lockstep: warning: %s\n", text)
	}
}

// withoutPassword is the URL as it may be shown and passed on. Nothing that stands
// where a password may stand is left in it.
func withoutPassword(raw string) string {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return raw
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	at := strings.LastIndexByte(rest[:end], '@')
	if at < 0 {
		return raw
	}
	user, _, _ := strings.Cut(rest[:at], ":")
	if user != "" {
		user += "@"
	}
	return scheme + "://" + user + rest[at+1:]
}

// logger is for what the library tells by the way: renewals that fail, for those
// who asked for it. What matters is an error, and is said once.
func (a *app) logger() *slog.Logger {
	if !a.verbose || a.json {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(a.err, nil))
}
