package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// mutant is one patch and what its header says.
type mutant struct {
	name   string
	file   string // absolute
	breaks string // the rule, in words
	dir    string // of the module whose test notices
	test   string // a shell command
}

// testFlags: nothing from the cache of results, and a test that hangs, which with
// a rule broken is one way to fail, is ended. The command's own flags win.
const testFlags = " -count=1 -timeout=3m"

func find(root string, only []string) ([]mutant, error) {
	files, err := filepath.Glob(filepath.Join(root, "mutants", "*.patch"))
	if err != nil {
		return nil, err
	}
	var mutants []mutant
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".patch")
		chosen := func(part string) bool { return strings.Contains(name, part) }
		if len(only) > 0 && !slices.ContainsFunc(only, chosen) {
			continue
		}
		m, err := parse(name, file)
		if err != nil {
			return nil, err
		}
		mutants = append(mutants, m)
	}
	return mutants, nil
}

func parse(name, file string) (mutant, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return mutant{}, err
	}
	m := mutant{name: name, file: file}
	for line := range strings.Lines(string(data)) {
		if !strings.HasPrefix(line, "#") {
			break
		}
		key, value, _ := strings.Cut(strings.TrimPrefix(line, "#"), ":")
		switch value = strings.TrimSpace(value); strings.TrimSpace(key) {
		case "breaks":
			m.breaks = value
		case "dir":
			m.dir = value
		case "test":
			m.test = value
		}
	}
	if m.breaks == "" || m.dir == "" || m.test == "" {
		return mutant{}, fmt.Errorf("%s: want the lines `# breaks:`, `# dir:` and `# test:` before the diff", file)
	}
	return m, nil
}

// runTest runs the mutant's test in the tree, in its module alone.
func (m mutant) runTest(tree string) (string, error) {
	cmd := exec.Command("sh", "-c", m.test) //nolint:noctx // go test ends by its own -timeout
	cmd.Dir = filepath.Join(tree, m.dir)
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+testFlags))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// ranTests reports whether some package had a test that the command chose.
func ranTests(out string) bool {
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "ok") && !strings.Contains(line, "[no tests to run]") {
			return true
		}
	}
	return false
}
