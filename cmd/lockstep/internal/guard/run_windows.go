package guard

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// On Windows a job object stands where the guardian does elsewhere: the kernel ends
// the whole job when the last handle to it is closed, so also when the command is
// killed. What it cannot do: a command that is frozen does not end its child, and
// there is no TERM, so that children are ended without notice.

// Main is for systems that have a guardian.
func Main([]string) int { return 64 }

// Run starts the child in a job of its own and returns when nobody of it is left.
func Run(c Child) (Result, error) {
	job, err := newJob()
	if err != nil {
		return Result{}, err
	}
	defer windows.CloseHandle(job)
	cmd := exec.Command(c.Argv[0], c.Argv[1:]...)
	cmd.Env = c.Env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, c.stdout(), os.Stderr
	if err := cmd.Start(); err != nil {
		return notStarted(c.Argv[0], err), nil
	}
	if err := assign(job, cmd.Process.Pid); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return Result{}, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // the exit code says it all
	}()
	cause := supervise(c, ended)
	_ = windows.TerminateJobObject(job, 1)
	<-ended
	return Result{Code: cmd.ProcessState.ExitCode(), Cause: cause}, nil
}

// supervise waits for the child's own end, or the end of its time.
func supervise(c Child, ended <-chan struct{}) Cause {
	look := time.NewTicker(lead(c.TTL))
	defer look.Stop()
	for {
		select {
		case <-ended:
			return ByItself
		case <-c.Lost:
			return LockLost
		case <-c.Signals: // ^C reaches the child by itself: they share a console
		case <-look.C:
			if time.Until(c.Until()) < 2*lead(c.TTL) {
				return WindowClosed
			}
		}
	}
}

func newJob() (windows.Handle, error) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return 0, err
	}
	limits := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{
		BasicLimitInformation: windows.JOBOBJECT_BASIC_LIMIT_INFORMATION{LimitFlags: windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE},
	}
	_, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits)))
	if err != nil {
		_ = windows.CloseHandle(job)
		return 0, err
	}
	return job, nil
}

func assign(job windows.Handle, pid int) error {
	p, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, uint32(pid))
	if err != nil {
		return err
	}
	defer windows.CloseHandle(p)
	return windows.AssignProcessToJobObject(job, p)
}

func notStarted(name string, err error) Result {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return Result{Code: 127, NotStarted: name + ": command not found"}
	}
	return Result{Code: 126, NotStarted: err.Error()}
}
