package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
)

// roleVariable makes this program a worker instead: a second process of a row,
// which answers the lines on its standard input until that ends.
const roleVariable = "LOCKSTEP_BENCH_ROLE"

// job is what a worker is started with.
type job struct {
	Dir  string // shared with the other side
	URL  string // of the service
	Kind string // which contender it works for
	N    int
}

// order is what a worker is asked to do, and report what came of it. Each role
// uses the fields that it needs.
type order struct {
	Do string
	At int64 // monotonic ns
}

type report struct {
	Err   string
	At    int64   // monotonic ns
	Value float64 // a sample
	Held  heldReport
	Took  turnsReport
	Seen  counts
}

// role is the work of one kind of worker.
type role func(j job) (worker, error)

type worker interface {
	// obey does what it is told. It must not keep its caller waiting beyond it.
	obey(o order) (report, error)
	close() error
}

func roles() map[string]role {
	return map[string]role{
		"waiter": newWaiterRole,
		"turns":  newTurnsRole,
		"pauses": newPausesRole,
		"hold":   newHoldRole,
		"crowd":  newCrowdRole,

		"service-lock":     newLockRole,
		"service-waiter":   newServiceWaiter,
		"service-watcher":  newServiceWatcher,
		"service-turns":    newServiceTurns,
		"service-crowd":    newServiceCrowd,
		"service-hold":     newServiceHold,
		"service-watchers": newWatchersRole,
	}
}

// work is the main function of a worker.
func work(name string, in io.Reader, out io.Writer) (err error) {
	var j job
	requests, replies := json.NewDecoder(in), json.NewEncoder(out)
	if err := requests.Decode(&j); err != nil {
		return err
	}
	start, known := roles()[name]
	if !known {
		return fmt.Errorf("no role %q", name)
	}
	w, err := start(j)
	if err != nil {
		return errors.Join(err, replies.Encode(report{Err: err.Error()}))
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if err := replies.Encode(report{}); err != nil { // ready
		return err
	}
	for {
		var o order
		if err := requests.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		r, err := w.obey(o)
		if err != nil {
			r.Err = err.Error()
		}
		if err := replies.Encode(r); err != nil {
			return err
		}
	}
}

// process is a worker as its starter sees it.
type process struct {
	cmd     *exec.Cmd
	in      io.Closer
	orders  *json.Encoder
	reports *json.Decoder
}

// start has a worker running and ready.
func start(name string, j job) (*process, error) { return startOn(nil, name, j) }

// startOn is start by a command that runs another, such as taskset.
func startOn(by []string, name string, j job) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	argv := append(slices.Clone(by), self)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), roleVariable+"="+name)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, in: in, orders: json.NewEncoder(in), reports: json.NewDecoder(out)}
	if err := p.orders.Encode(j); err != nil {
		return nil, errors.Join(err, p.close())
	}
	if _, err := p.report(); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// order asks without waiting for the report.
func (p *process) order(o order) error { return p.orders.Encode(o) }

func (p *process) report() (report, error) {
	var r report
	if err := p.reports.Decode(&r); err != nil {
		return r, fmt.Errorf("worker: %w", err)
	}
	if r.Err != "" {
		return r, fmt.Errorf("worker: %s", r.Err)
	}
	return r, nil
}

func (p *process) ask(o order) (report, error) {
	if err := p.order(o); err != nil {
		return report{}, err
	}
	return p.report()
}

// close has the worker end, and waits until it has.
func (p *process) close() error { return errors.Join(p.in.Close(), p.cmd.Wait()) }

// startAll starts n workers of one role; spread: each on a core of its own, as
// far as there are some.
func startAll(n int, spread bool, name string, j job) (all []*process, err error) {
	for i := range n {
		var by []string
		if spread {
			by = onCore(i)
		}
		p, err := startOn(by, name, j)
		if err != nil {
			return nil, errors.Join(err, closeAll(all))
		}
		all = append(all, p)
	}
	return all, nil
}

// closeAll has all of them end at the same time.
func closeAll(all []*process) error {
	var errs []error
	for _, p := range all {
		errs = append(errs, p.in.Close())
	}
	for _, p := range all {
		errs = append(errs, p.cmd.Wait())
	}
	return errors.Join(errs...)
}

// askAll gives all workers the same order at once, and has their reports.
func askAll(all []*process, o order) (reports []report, err error) {
	for _, p := range all {
		if err := p.order(o); err != nil {
			return nil, err
		}
	}
	for _, p := range all {
		r, err := p.report()
		if err != nil {
			return nil, err
		}
		reports = append(reports, r)
	}
	return reports, nil
}
