package project

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const modulePath = "github.com/lockstep-go/lockstep"

// root is the top of the repository.
func root(t *testing.T) string {
	t.Helper()
	top, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return top
}

// committed lists the files that git knows, slash-separated from the root. In a
// tree without git (an unpacked archive) these are all files.
func committed(t *testing.T) []string {
	t.Helper()
	top := root(t)
	cmd := exec.Command("git", "-c", "safe.directory=*", "ls-files", "-z") // the tree may be another user's
	cmd.Dir = top
	out, err := cmd.Output()
	if err != nil {
		return walk(t, top)
	}
	var files []string
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		if _, err := os.Stat(filepath.Join(top, name)); err == nil { // not one just removed
			files = append(files, name)
		}
	}
	return files
}

func walk(t *testing.T, top string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		if d.IsDir() && (name == "bin" || name == ".git") {
			return filepath.SkipDir
		}
		if d.Type().IsRegular() {
			files = append(files, filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// withSuffix is the committed files whose names end so.
func withSuffix(t *testing.T, suffix string) []string {
	t.Helper()
	return slices.DeleteFunc(committed(t), func(name string) bool { return !strings.HasSuffix(name, suffix) })
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// goTool runs the go command in dir, without the workspace, and returns what it
// printed. env is added to the test's own.
func goTool(t *testing.T, dir string, env []string, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "GOWORK=off"), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s in %s: %v\n%s%s", strings.Join(args, " "), dir, err, out, stderr.String())
	}
	return string(out)
}
