// Noskip runs `go test` with its arguments, and lets no skipped test pass
// unseen: a run that promises to test everything (LOCKSTEP_REQUIRE=all) fails
// if a test was skipped, and says which and why.
//
// It prints what go test prints without -v: the output of tests that fail, and a
// closing line for each package. Where a package fails, it also prints what other
// tests said: a process that a test started may share its output, and then a
// line of one test is taken for another's.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "noskip:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(args []string) (code int, err error) {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...) //nolint:noctx // whoever interrupts this program interrupts the group
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 1, err
	}
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	r := newReport(os.Stdout)
	readErr := r.read(stdout)
	if _, err := io.Copy(io.Discard, stdout); err != nil {
		readErr = errors.Join(readErr, err) // go test must never block on us
	}
	if err := cmd.Wait(); err != nil {
		code = max(1, cmd.ProcessState.ExitCode())
	}
	if len(r.skipped) > 0 {
		return max(code, 1), fmt.Errorf("skipped, though everything is required:\n%s", strings.Join(r.skipped, ""))
	}
	return code, readErr
}

// event is one line of `go test -json`; see `go doc test2json`.
type event struct {
	Action  string `json:"Action"`
	Package string `json:"Package"`
	Test    string `json:"Test"`
	Output  string `json:"Output"`
}

type test struct{ pkg, name string }

// report prints what matters of a run.
type report struct {
	out     io.Writer
	said    map[test]string   // by tests that have not ended
	passed  map[string]string // by a package's tests that passed
	skipped []string
}

func newReport(out io.Writer) *report {
	return &report{out: out, said: map[test]string{}, passed: map[string]string{}}
}

func (r *report) read(events io.Reader) error {
	dec := json.NewDecoder(events)
	for {
		var e event
		switch err := dec.Decode(&e); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := r.take(e); err != nil {
			return err
		}
	}
}

func (r *report) take(e event) error {
	if e.Test == "" {
		return r.takePackage(e)
	}
	id := test{e.Package, e.Test}
	if e.Action == "output" {
		r.said[id] += e.Output
		return nil
	}
	said := withoutProgress(r.said[id])
	switch e.Action {
	case "fail":
		delete(r.said, id)
		return r.print(said)
	case "pass":
		delete(r.said, id)
		r.passed[id.pkg] += said
	case "skip":
		delete(r.said, id)
		r.skipped = append(r.skipped, id.pkg+" "+id.name+"\n"+said)
	}
	return nil
}

func (r *report) takePackage(e event) error {
	switch {
	case e.Action == "build-output", e.Action == "output" && e.Output != "PASS\n":
		return r.print(e.Output)
	case e.Action == "pass":
		delete(r.passed, e.Package)
	case e.Action == "fail":
		return r.print(r.rest(e.Package))
	}
	return nil
}

// rest is what a failed package's tests said that has not been printed: those
// that a panic or a time-out cut off, and those that passed.
func (r *report) rest(pkg string) string {
	var text strings.Builder
	for id, said := range r.said {
		if id.pkg == pkg {
			text.WriteString(withoutProgress(said))
			delete(r.said, id)
		}
	}
	if passed := r.passed[pkg]; passed != "" {
		text.WriteString("-- said while tests passed:\n" + passed)
		delete(r.passed, pkg)
	}
	return text.String()
}

func (r *report) print(text string) error {
	_, err := io.WriteString(r.out, text)
	return err
}

// withoutProgress drops the lines that only -v, which -json implies, prints.
func withoutProgress(said string) string {
	var kept strings.Builder
	for line := range strings.Lines(said) {
		trimmed := strings.TrimSpace(line)
		if !strings.HasPrefix(trimmed, "=== ") && !strings.HasPrefix(trimmed, "--- PASS") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}
