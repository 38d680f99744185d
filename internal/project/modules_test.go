package project

import (
	"encoding/json"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// goMod is what `go mod edit -json` prints of a go.mod.
type goMod struct {
	Module    moduleRef   `json:"Module"`
	Go        string      `json:"Go"`
	Toolchain string      `json:"Toolchain"`
	Require   []moduleRef `json:"Require"`
	Replace   []struct {
		Old moduleRef `json:"Old"`
		New moduleRef `json:"New"`
	} `json:"Replace"`
}

type moduleRef struct {
	Path    string `json:"Path"`
	Version string `json:"Version"`
}

// moduleDirs is where the committed modules are: "." is the core.
func moduleDirs(t *testing.T) []string {
	t.Helper()
	var dirs []string
	for _, name := range committed(t) {
		if path.Base(name) == "go.mod" && !strings.Contains(name, "testdata/") {
			dirs = append(dirs, path.Dir(name))
		}
	}
	return dirs
}

func moduleFile(t *testing.T, dir string) goMod {
	t.Helper()
	var mod goMod
	out := goTool(t, filepath.Join(root(t), dir), nil, "mod", "edit", "-json")
	if err := json.Unmarshal([]byte(out), &mod); err != nil {
		t.Fatal(err)
	}
	return mod
}

func TestEveryModuleIsNamedAfterItsDirectory(t *testing.T) {
	for _, dir := range moduleDirs(t) {
		if got, want := moduleFile(t, dir).Module.Path, path.Join(modulePath, dir); got != want {
			t.Errorf("%s/go.mod says module %s, want %s", dir, got, want)
		}
	}
}

// The go line is a promise to users: the whole release (1.26.0, not 1.26.8), and
// nothing that makes their go command fetch another toolchain.
func TestEveryModuleStatesItsGoLine(t *testing.T) {
	release := regexp.MustCompile(`^1\.\d+\.0$`)
	for _, dir := range moduleDirs(t) {
		mod := moduleFile(t, dir)
		if !release.MatchString(mod.Go) {
			t.Errorf("%s/go.mod says go %q, want a release like 1.26.0", dir, mod.Go)
		}
		if mod.Toolchain != "" {
			t.Errorf("%s/go.mod names the toolchain %s", dir, mod.Toolchain)
		}
	}
}

// Without go.work (as `go install` and a user's build see it) a nested module
// finds the local ones only by a replace of its own; release-check strips them.
func TestEveryLocalModuleIsReplacedWhereItIsRequired(t *testing.T) {
	for _, dir := range moduleDirs(t) {
		mod := moduleFile(t, dir)
		replaced := map[string]string{}
		for _, r := range mod.Replace {
			if r.Old.Path != modulePath && !strings.HasPrefix(r.Old.Path, modulePath+"/") {
				t.Errorf("%s/go.mod replaces the foreign module %s: its users would not", dir, r.Old.Path)
			}
			replaced[r.Old.Path] = path.Join(dir, r.New.Path)
		}
		for _, r := range mod.Require {
			if r.Path != modulePath && !strings.HasPrefix(r.Path, modulePath+"/") {
				continue
			}
			want := path.Clean("./" + strings.TrimPrefix(r.Path, modulePath))
			if got := replaced[r.Path]; got != want {
				t.Errorf("%s/go.mod requires %s and replaces it with %q, want the directory %q", dir, r.Path, got, want)
			}
		}
	}
}

// Those that are left out would make the first build fetch four times the modules.
func TestTheWorkspaceListsEveryModuleButThoseOfTestsAlone(t *testing.T) {
	var work struct {
		Use []struct {
			DiskPath string `json:"DiskPath"`
		} `json:"Use"`
	}
	out := goTool(t, root(t), nil, "work", "edit", "-json", filepath.Join(root(t), "go.work"))
	if err := json.Unmarshal([]byte(out), &work); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, u := range work.Use {
		got = append(got, path.Clean(u.DiskPath))
	}
	ofTests := []string{"internal/bench", "internal/etcdserver", "internal/recipes", "internal/torture"}
	want := slices.DeleteFunc(moduleDirs(t), func(dir string) bool { return slices.Contains(ofTests, dir) })
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("go.work uses %q, want %q", got, want)
	}
}
