// Package need is for tests that need something beside Go. Where it is missing they
// skip, and say in one line what it is and which of Debian's packages brings it;
// where everything is required (LOCKSTEP_REQUIRE, as `make test` has it), or where a
// test cannot skip, they fail.
package need

import (
	"fmt"
	"os"
	"os/exec"
)

// TB is what a need asks of a [testing.T].
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Program is where a program is, which a package of Debian brings.
func Program(t TB, name, debian string) (path string) {
	t.Helper()
	path, err := exec.LookPath(name)
	That(t, fmt.Sprintf("%s (Debian's %s)", name, debian), err)
	return path
}

// That ends the test if there is an error, which says why there is not what it needs.
func That(t TB, what string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	skipper, ok := t.(interface {
		Skipf(format string, args ...any)
	})
	if ok && os.Getenv("LOCKSTEP_REQUIRE") == "" {
		skipper.Skipf("needs %s: %v", what, err)
	}
	t.Fatalf("needs %s: %v", what, err)
}
