// Noskip runs `go test` with its arguments, and lets no skipped test pass
// unseen: a run that promises to test everything (LOCKSTEP_REQUIRE=all) fails
// if a test was skipped, and says which and why.
//
// It prints what go test prints without -v: the output of tests that fail, and a
// closing line for each package.
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
	r := report{out: os.Stdout, said: map[test]*strings.Builder{}}
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
	said    map[test]*strings.Builder // by tests that have not ended
	skipped []string
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
	id := test{e.Package, e.Test}
	switch {
	case e.Action == "build-output", e.Action == "output" && e.Test == "" && e.Output != "PASS\n":
		return r.print(e.Output)
	case e.Action == "output" && e.Test != "":
		if r.said[id] == nil {
			r.said[id] = &strings.Builder{}
		}
		r.said[id].WriteString(e.Output)
	case e.Action == "fail" && e.Test == "":
		return r.unfinished(e.Package)
	case e.Action == "fail":
		return r.print(r.finish(id))
	case e.Action == "skip" && e.Test != "":
		r.skipped = append(r.skipped, fmt.Sprintf("%s %s\n", id.pkg, id.name)+withoutRun(r.finish(id)))
	case e.Action == "pass" && e.Test != "":
		r.finish(id)
	}
	return nil
}

// unfinished prints what tests said that a panic or a time-out cut off.
func (r *report) unfinished(pkg string) error {
	for id := range r.said {
		if id.pkg != pkg {
			continue
		}
		if err := r.print(r.finish(id)); err != nil {
			return err
		}
	}
	return nil
}

func (r *report) finish(id test) string {
	said := r.said[id]
	delete(r.said, id)
	if said == nil {
		return ""
	}
	return withoutRun(said.String())
}

func (r *report) print(text string) error {
	_, err := io.WriteString(r.out, text)
	return err
}

// withoutRun drops the lines that only -v, which -json implies, prints.
func withoutRun(said string) string {
	var kept strings.Builder
	for line := range strings.Lines(said) {
		if !strings.HasPrefix(strings.TrimSpace(line), "=== ") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}
