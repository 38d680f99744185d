// Releasecheck uses the modules of this repository as they would be tagged.
//
// It packs each module that others can import into a module proxy of files, with
// the replaces of its go.mod stripped and the modules requiring each other at
// one version. Then, in folders outside of the repository:
//
//  1. a new module imports the core, the memory and the file engine, and runs a
//     lock on each;
//  2. `go install …/cmd/lockstep@version` builds the command, which knows its
//     version;
//  3. the core, its tests included, builds with the oldest Go that it states.
//
// The go command's module cache is a temporary one: a version that was unpacked
// there once would never be looked at again. Third parties come from the usual
// cache where it has them.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	modulePath = "github.com/lockstep-go/lockstep"
	version    = "v0.1.0"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "release-check:", err)
		os.Exit(1)
	}
}

func run() error {
	root, err := git(".", "rev-parse", "--show-toplevel")
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "lockstep-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)

	modules, err := findModules(root)
	if err != nil {
		return err
	}
	proxy := filepath.Join(tmp, "proxy")
	for _, m := range modules {
		if err := m.pack(proxy); err != nil {
			return fmt.Errorf("pack %s: %w", m.path, err)
		}
		fmt.Printf("packed %s %s: go %s, %d files\n", m.path, version, m.goLine, len(m.files))
	}

	env, err := environment(tmp, proxy)
	if err != nil {
		return err
	}
	if err := consume(root, tmp, env); err != nil {
		return fmt.Errorf("a module that imports %s: %w", version, err)
	}
	if err := install(tmp, env); err != nil {
		return fmt.Errorf("go install: %w", err)
	}
	return buildWithOldest(root, modules[0].goLine)
}

// environment lets the go command see the packed modules before any other, take
// third parties from this machine's cache or else from where they always come
// from, and not ask the checksum database about versions that do not exist yet.
func environment(tmp, proxy string) ([]string, error) {
	cache, err := output(command(tmp, nil, "go", "env", "GOMODCACHE"))
	if err != nil {
		return nil, err
	}
	upstream, err := output(command(tmp, nil, "go", "env", "GOPROXY"))
	if err != nil {
		return nil, err
	}
	flags, err := output(command(tmp, nil, "go", "env", "GOFLAGS"))
	if err != nil {
		return nil, err
	}
	return []string{
		"GOPROXY=" + strings.Join([]string{"file://" + proxy, "file://" + cache + "/cache/download", upstream}, ","),
		"GONOSUMDB=" + modulePath + "," + modulePath + "/*",
		"GOMODCACHE=" + filepath.Join(tmp, "modcache"),
		"GOFLAGS=" + strings.TrimSpace(flags+" -modcacherw"), // else the temporary folder could not be removed
		"GOWORK=off",
	}, nil
}

func git(dir string, args ...string) (string, error) {
	// The tree may be another user's.
	return output(command(dir, nil, "git", append([]string{"-c", "safe.directory=*"}, args...)...))
}

// command is a command in a directory, with more environment. What it says goes
// to this program's standard error.
func command(dir string, env []string, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...) //nolint:noctx // whoever interrupts this program interrupts the group
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	return cmd
}

// output is what a command printed, trimmed.
func output(cmd *exec.Cmd) (string, error) {
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
