package project

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A user who imports only one engine must not meet another engine's
// dependencies, nor have their go line raised by them.
func TestTheCoreImportsOnlyTheStandardLibrary(t *testing.T) {
	for _, goos := range []string{"linux", "darwin", "windows"} {
		t.Run(goos, func(t *testing.T) {
			list := goTool(t, root(t), []string{"GOOS=" + goos, "CGO_ENABLED=0"},
				"list", "-deps", "-test", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./...")
			seen := 0
			for pkg := range strings.SplitSeq(strings.TrimSpace(list), "\n") {
				seen++
				if !ofTheCore(pkg) {
					t.Errorf("the core or one of its tests imports %s", pkg)
				}
			}
			if seen < 3 {
				t.Fatalf("go list showed only %d packages: %q", seen, list)
			}
		})
	}
}

// ofTheCore knows the core's packages as go list names them: also as variants
// ("p [p.test]") and test binaries ("p.test").
func ofTheCore(pkg string) bool {
	name, _, _ := strings.Cut(pkg, " ")
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".test"), "_test")
	return name == modulePath || strings.HasPrefix(name, modulePath+"/")
}

func TestTheCoreRequiresNoModule(t *testing.T) {
	mod := moduleFile(t, ".")
	for _, r := range mod.Require {
		t.Errorf("go.mod of the core requires %s %s", r.Path, r.Version)
	}
	for _, r := range mod.Replace {
		t.Errorf("go.mod of the core replaces %s", r.Old.Path)
	}
	if _, err := os.Stat(filepath.Join(root(t), "go.sum")); err == nil {
		t.Error("the core has a go.sum: it requires something")
	}
}
