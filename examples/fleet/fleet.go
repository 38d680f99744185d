// Package fleet runs an example as a fleet: three processes of one program on one
// engine, a directory that is removed afterwards. What each prints comes with its
// name before it.
//
// A program of yours needs none of this. It has the engine's URL, and is started as
// often and wherever you like.
package fleet

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine/sqliteengine"
)

// Member is one program of the fleet.
type Member struct {
	Client *lockstep.Client
	Name   string
	Out    io.Writer
	Crash  func() // ends it as kill -9 would: nothing is given back
}

// Say prints a line.
func (m *Member) Say(format string, args ...any) { fmt.Fprintf(m.Out, format+"\n", args...) }

// Again says whether to do again what ended with this error, because the engine could
// not be reached or a lease was lost; it waits a moment before. What is done again has
// to bear that: a vote counts once, and a part that is done is not done again.
func Again(ctx context.Context, err error) bool {
	if !errors.Is(err, lockstep.ErrUnavailable) && !errors.Is(err, lockstep.ErrLost) {
		return false
	}
	select {
	case <-time.After(time.Second):
		return true
	case <-ctx.Done():
		return false
	}
}

// names are the members'.
var names = []string{"a", "b", "c"}

// The environment of a member's process.
const (
	envName = "EXAMPLE_MEMBER"
	envURL  = "EXAMPLE_URL"
)

// crashed is the exit code of a member that crashed as its story has it.
const crashed = 99

// Main is the main function of an example: it starts the processes, or is one.
func Main(run func(context.Context, *Member) error) {
	if err := start(run); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func start(run func(context.Context, *Member) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if name := os.Getenv(envName); name != "" {
		return member(ctx, name, run)
	}
	return all(ctx)
}

// member is one process.
func member(ctx context.Context, name string, run func(context.Context, *Member) error) error {
	c, err := lockstep.Open(ctx, os.Getenv(envURL), sqliteengine.Driver)
	if err != nil {
		return err
	}
	err = run(ctx, &Member{Client: c, Name: name, Out: os.Stdout, Crash: func() { os.Exit(crashed) }})
	return errors.Join(err, c.Close())
}

// all starts every process and waits for it.
func all(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "lockstep-example-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	engine := (&url.URL{Scheme: "file", Path: filepath.ToSlash(filepath.Join(dir, "engine"))}).String()
	var screen sync.Mutex
	var processes sync.WaitGroup
	errs := make([]error, len(names))
	for i, name := range names {
		cmd := exec.CommandContext(ctx, self)
		cmd.Env = append(os.Environ(), envName+"="+name, envURL+"="+engine)
		out := &prefixed{to: os.Stdout, prefix: name + " | ", screen: &screen}
		processes.Go(func() { errs[i] = out.run(cmd) })
	}
	processes.Wait()
	return errors.Join(errs...)
}

// prefixed writes whole lines, one at a time, with a prefix.
type prefixed struct {
	to     io.Writer
	prefix string
	screen *sync.Mutex
}

// run runs a process and prints what it prints.
func (p *prefixed) run(cmd *exec.Cmd) error {
	lines, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return err
	}
	for s := bufio.NewScanner(lines); s.Scan(); {
		p.line(s.Text())
	}
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == crashed {
		p.line("(crashed)")
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s%w", p.prefix, err)
	}
	return nil
}

func (p *prefixed) line(text string) {
	p.screen.Lock()
	defer p.screen.Unlock()
	fmt.Fprintf(p.to, "%s%s\n", p.prefix, text)
}
