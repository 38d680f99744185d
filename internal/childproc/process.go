package childproc

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

// Patience is how long a server may take to start, to end or to answer. It is
// far more than any needs: reaching it is a failure, never a speed.
const Patience = 30 * time.Second

// Process is one run of a server. A nil one has never run.
type Process struct {
	// Done is closed when it has ended and was waited for.
	Done chan struct{}

	cmd    *exec.Cmd
	paused atomic.Bool
}

// Launch starts the command; what it prints is added to the file "log" in its
// folder.
//
// One goroutine starts the process and waits for it, and keeps to one thread: a
// process that asked to die with its parent dies with the thread that started it.
func Launch(cmd *exec.Cmd) (*Process, error) {
	log, err := os.OpenFile(filepath.Join(cmd.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dieWithParent()
	p := &Process{cmd: cmd, Done: make(chan struct{})}
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
		close(p.Done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// Pid is its process id.
func (p *Process) Pid() int {
	if p == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Ended says whether it runs no longer.
func (p *Process) Ended() bool {
	if p == nil {
		return true
	}
	select {
	case <-p.Done:
		return true
	default:
		return false
	}
}

// Stop asks the process to end, and waits until it has.
func (p *Process) Stop() error { return p.end(terminate) }

// Kill ends the process, and waits until it has.
func (p *Process) Kill() error { return p.end(os.Kill) }

func (p *Process) end(sig os.Signal) error {
	if p.Ended() {
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
	case <-p.Done:
		return nil
	case <-time.After(Patience):
		return fmt.Errorf("process %d did not end within %v of %v", p.Pid(), Patience, sig)
	}
}

// Pause stops it in its tracks, and waits until it stands still.
func (p *Process) Pause() error {
	if p.Ended() {
		return errors.New("it does not run")
	}
	p.paused.Store(true)
	if err := p.signal(pause); err != nil {
		return err
	}
	deadline := time.Now().Add(Patience)
	for !Stopped(p.Pid()) {
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d goes on %v after %v", p.Pid(), Patience, pause)
		}
		runtime.Gosched()
	}
	return nil
}

// Resume lets a paused process go on.
func (p *Process) Resume() error {
	if p.Ended() {
		return errors.New("it does not run")
	}
	p.paused.Store(false)
	return p.signal(resume)
}

// signal sends a signal; a process that ended meanwhile needs none.
func (p *Process) signal(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}
