package redistest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"
)

// process is one run of a server.
type process struct {
	cmd    *exec.Cmd
	done   chan struct{} // closed when it has ended and was waited for
	paused atomic.Bool
}

// launch starts the command; what it prints is added to the file "log" in its
// folder.
//
// One goroutine starts the process and waits for it, and keeps to one thread: a
// process that asked to die with its parent dies with the thread that started it.
func launch(cmd *exec.Cmd) (*process, error) {
	log, err := os.OpenFile(filepath.Join(cmd.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dieWithParent()
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer log.Close()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait() // how it ended is the business of whoever ended it
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

func (p *process) pid() int {
	if p == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

func (p *process) ended() bool {
	if p == nil {
		return true
	}
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// stop asks the process to end, and waits until it has.
func (p *process) stop() error { return p.end(terminate) }

// kill ends the process, and waits until it has.
func (p *process) kill() error { return p.end(os.Kill) }

func (p *process) end(sig os.Signal) error {
	if p.ended() {
		return nil
	}
	if err := p.signal(sig); err != nil {
		return err
	}
	if p.paused.Swap(false) && sig != os.Kill {
		if err := p.signal(resume); err != nil {
			return err
		}
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("process %d did not end within %v of %v", p.pid(), patience, sig)
	}
}

func (p *process) pause() error {
	if p.ended() {
		return errors.New("it does not run")
	}
	p.paused.Store(true)
	if err := p.signal(pause); err != nil {
		return err
	}
	deadline := time.Now().Add(patience)
	for !stopped(p.pid()) {
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d goes on %v after %v", p.pid(), patience, pause)
		}
		runtime.Gosched()
	}
	return nil
}

func (p *process) resume() error {
	if p.ended() {
		return errors.New("it does not run")
	}
	p.paused.Store(false)
	return p.signal(resume)
}

// signal sends a signal; a process that ended meanwhile needs none.
func (p *process) signal(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}
