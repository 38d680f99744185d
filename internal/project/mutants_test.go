package project

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A mutant that no longer applies shows nothing. `make mutants` runs them; that
// they still fit is tested with every change.
func TestEveryMutantAppliesAndSaysWhatItBreaks(t *testing.T) {
	for _, name := range withSuffix(t, ".patch") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			if !strings.HasPrefix(name, "mutants/") {
				t.Fatalf("%s is not in mutants/", name)
			}
			head, _, _ := strings.Cut(read(t, name), "\n---")
			for _, line := range []string{`# breaks: \S`, `# dir: \S`, `# test: ([A-Z_]+=\S+ )*go test .*-run `} {
				if !regexp.MustCompile(`(?m)^` + line).MatchString(head) {
					t.Errorf("the lines before the diff have none like %q", line)
				}
			}
			cmd := exec.Command("git", "apply", "--check", name)
			cmd.Dir = root(t)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("it does not apply: %v\n%s", err, out)
			}
		})
	}
}
