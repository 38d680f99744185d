// Mutants shows that the tests notice when a rule is broken.
//
// Each mutants/*.patch is a small change that breaks one rule. Its lines before
// the diff say which, and how the tests are asked:
//
//	# breaks: S3, release takes whatever claim is there
//	# dir: engine/sqliteengine
//	# test: go test -run 'TestReleaseOnlyMine' .
//
// The tree is copied to a temporary folder. There, for each patch, the test must
// pass as things are, then fail with the patch applied: by a test's verdict, not
// because it no longer builds. A mutant that survives, does not apply or does
// not build fails the run.
//
// Arguments, if any, choose patches by a part of their name.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(only []string) error {
	root, err := gitOutput(".", "rev-parse", "--show-toplevel")
	if err != nil {
		return err
	}
	mutants, err := find(strings.TrimSpace(root), only)
	if err != nil {
		return err
	}
	if len(mutants) == 0 {
		return fmt.Errorf("no mutants/*.patch matches %q", only)
	}
	tree, err := os.MkdirTemp("", "lockstep-mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tree)
	if err := copyTree(strings.TrimSpace(root), tree); err != nil {
		return err
	}

	survivors := 0
	healthy := map[string]string{} // of a test's command in its directory: "" or what it said
	for _, m := range mutants {
		began := time.Now()
		verdict, detail := judge(tree, m, healthy)
		fmt.Printf("%-11s %-40s %4.0f s  %s\n", verdict, m.name, time.Since(began).Seconds(), m.breaks)
		if verdict != caught {
			survivors++
			fmt.Printf("            %s: %s\n%s\n", m.dir, m.test, indent(detail))
		}
	}
	if survivors > 0 {
		return fmt.Errorf("%d of %d not caught", survivors, len(mutants))
	}
	fmt.Printf("all %d mutants are caught\n", len(mutants))
	return nil
}

const (
	caught    = "caught"
	notCaught = "NOT CAUGHT"
	broken    = "BROKEN" // it proves nothing: does not apply or build, or the test fails without it
)

// judge applies one mutant to the tree, runs its test and takes it back.
func judge(tree string, m mutant, healthy map[string]string) (verdict, detail string) {
	key := m.dir + "\x00" + m.test
	before, known := healthy[key]
	if !known {
		if out, err := m.runTest(tree); err != nil {
			before = "the test fails without the mutant:\n" + out
		} else if !ranTests(out) {
			before = "the command runs no test:\n" + out
		}
		healthy[key] = before
	}
	if before != "" {
		return broken, before
	}

	if out, err := gitOutput(tree, "apply", m.file); err != nil {
		return broken, "it does not apply:\n" + out
	}
	defer func() {
		if out, err := gitOutput(tree, "apply", "--reverse", m.file); err != nil {
			verdict, detail = broken, "it cannot be taken back:\n"+out
		}
	}()
	out, err := m.runTest(tree)
	switch {
	case err == nil:
		return notCaught, out
	case strings.Contains(out, "[build failed]") || strings.Contains(out, "[setup failed]"):
		return broken, "it does not build:\n" + out
	case !strings.Contains(out, "FAIL") && !strings.Contains(out, "panic:"):
		return broken, "no test says that it failed:\n" + out
	}
	return caught, ""
}

// copyTree copies what git would commit, new files too: mutants run against the
// tree as it is, and never in it.
func copyTree(root, tree string) error {
	list, err := gitOutput(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.TrimRight(list, "\x00"), "\x00") {
		info, err := os.Stat(filepath.Join(root, name))
		if err != nil {
			continue // removed, and not yet committed
		}
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		to := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
			return err
		}
		if err := os.WriteFile(to, data, info.Mode().Perm()); err != nil {
			return err
		}
	}
	return nil
}

// gitOutput runs git in dir; after an error the text is what it complained of.
func gitOutput(dir string, args ...string) (string, error) {
	args = append([]string{"-c", "safe.directory=*"}, args...) // the tree may be another user's
	cmd := exec.Command("git", args...)                        //nolint:noctx // whoever interrupts this program interrupts the group
	cmd.Dir = dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return stderr.String(), fmt.Errorf("git %s: %w: %s", strings.Join(args[2:], " "), err, stderr.String())
	}
	return string(out), nil
}

func indent(text string) string {
	const lines = 30 // the end of a test's output says why
	all := strings.Split(strings.TrimSpace(text), "\n")
	all = all[max(0, len(all)-lines):]
	return "            | " + strings.Join(all, "\n            | ")
}
