package project

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// exampleLines is how long the README's example may be, without its package
// clause, imports and blank lines.
const exampleLines = 15

// The first Go block of the README is a whole program. It is built the way a
// user would, in a module of its own, and run.
func TestTheReadmesExampleRuns(t *testing.T) {
	example := readmeExample(t)
	if n := countLines(example); n > exampleLines {
		t.Errorf("the example has %d lines after its imports, want at most %d", n, exampleLines)
	}

	target := regexp.MustCompile(`"file://[^"]*"`)
	if !target.MatchString(example) {
		t.Fatal("the example opens no file engine: nothing to point at a temporary folder")
	}
	store := "file://" + filepath.ToSlash(filepath.Join(t.TempDir(), "locks"))
	example = target.ReplaceAllLiteralString(example, fmt.Sprintf("%q", store))

	dir := t.TempDir()
	writeModule(t, dir, example)
	goTool(t, dir, nil, "vet", "-mod=mod", ".")
	out := goTool(t, dir, nil, "run", "-mod=mod", ".")
	if !regexp.MustCompile(`token [1-9]\d*`).MatchString(out) {
		t.Errorf("the example printed %q, want a line that shows its token", out)
	}
}

func readmeExample(t *testing.T) string {
	t.Helper()
	_, rest, found := strings.Cut(read(t, "README.md"), "\n```go\n")
	if !found {
		t.Fatal("the README has no Go block")
	}
	example, _, _ := strings.Cut(rest, "\n```\n")
	return example + "\n"
}

func countLines(example string) int {
	_, code, _ := strings.Cut(example, "\n)\n") // the end of the imports
	n := 0
	for line := range strings.SplitSeq(code, "\n") {
		if strings.TrimSpace(line) != "" {
			n++
		}
	}
	return n
}

// writeModule makes a module that uses this tree's modules by replace, with the
// checksums that the file engine has already.
func writeModule(t *testing.T, dir, program string) {
	t.Helper()
	const file = "engine/sqliteengine"
	mod := fmt.Sprintf("module example\n\ngo %s\n\n"+
		"require %[2]s v0.0.0\nrequire %[2]s/%[3]s v0.0.0\n\n"+
		"replace %[2]s => %[4]s\nreplace %[2]s/%[3]s => %[4]s/%[3]s\n",
		moduleFile(t, ".").Go, modulePath, file, filepath.ToSlash(root(t)))
	for name, text := range map[string]string{"go.mod": mod, "main.go": program, "go.sum": read(t, file+"/go.sum")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
