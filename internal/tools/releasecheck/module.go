package main

import (
	"archive/zip"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// module is one module of the repository as it would be tagged.
type module struct {
	path   string // its import path
	dir    string // slash-separated from the root; "." is the core
	root   string
	goLine string
	goMod  []byte   // without replaces, requiring the others at version
	files  []string // slash-separated from dir
}

// findModules is every module that others can import, the core first.
func findModules(root string) ([]*module, error) {
	// Files that git would commit: new ones too, so that the check can be run
	// before the commit.
	list, err := git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return nil, err
	}
	files := slices.DeleteFunc(strings.Split(list, "\x00"), func(name string) bool {
		info, err := os.Lstat(filepath.Join(root, name))
		return err != nil || !info.Mode().IsRegular()
	})

	var modules []*module
	for _, name := range files {
		dir := path.Dir(name)
		if path.Base(name) == "go.mod" && !strings.HasPrefix(dir, "internal/") && !strings.Contains(dir, "testdata") {
			modules = append(modules, &module{path: path.Join(modulePath, dir), dir: dir, root: root})
		}
	}
	slices.SortFunc(modules, func(a, b *module) int { return strings.Compare(a.dir, b.dir) })
	if len(modules) == 0 || modules[0].dir != "." {
		return nil, fmt.Errorf("no go.mod in %s", root)
	}
	for _, m := range modules {
		m.files = ownFiles(m.dir, files)
		if err := m.readGoMod(); err != nil {
			return nil, err
		}
	}
	return modules, nil
}

// ownFiles is what a version of the module in dir holds: all below it but the
// modules nested in it.
func ownFiles(dir string, files []string) []string {
	var nested []string
	for _, name := range files {
		if path.Base(name) == "go.mod" && path.Dir(name) != dir && below(dir, name) {
			nested = append(nested, path.Dir(name))
		}
	}
	var own []string
	for _, name := range files {
		inNested := slices.ContainsFunc(nested, func(n string) bool { return below(n, name) })
		if below(dir, name) && !inNested {
			own = append(own, strings.TrimPrefix(name, dir+"/"))
		}
	}
	return own
}

func below(dir, name string) bool { return dir == "." || strings.HasPrefix(name, dir+"/") }

// readGoMod makes the go.mod to publish: `go install` refuses one with replaces.
func (m *module) readGoMod() error {
	tmp, err := os.MkdirTemp("", "lockstep-gomod-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	data, err := os.ReadFile(filepath.Join(m.root, m.dir, "go.mod"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, "go.mod"), data, 0o600); err != nil {
		return err
	}

	shown, err := output(command(tmp, []string{"GOWORK=off"}, "go", "mod", "edit", "-json"))
	if err != nil {
		return err
	}
	var mod struct {
		Go      string `json:"Go"`
		Require []struct {
			Path string `json:"Path"`
		} `json:"Require"`
		Replace []struct {
			Old struct {
				Path string `json:"Path"`
			} `json:"Old"`
		} `json:"Replace"`
	}
	if err := json.Unmarshal([]byte(shown), &mod); err != nil {
		return err
	}
	m.goLine = mod.Go

	edits := []string{"mod", "edit"}
	for _, r := range mod.Replace {
		edits = append(edits, "-dropreplace="+r.Old.Path)
	}
	for _, r := range mod.Require {
		if r.Path == modulePath || strings.HasPrefix(r.Path, modulePath+"/") {
			edits = append(edits, "-require="+r.Path+"@"+version)
		}
	}
	if len(edits) > 2 {
		if _, err := output(command(tmp, []string{"GOWORK=off"}, "go", edits...)); err != nil {
			return err
		}
	}
	m.goMod, err = os.ReadFile(filepath.Join(tmp, "go.mod"))
	return err
}

// pack writes the module into a proxy of files, in the layout of
// https://go.dev/ref/mod#goproxy-protocol.
func (m *module) pack(proxy string) error {
	dir := filepath.Join(proxy, filepath.FromSlash(m.path), "@v") // no upper-case letter in our paths needs escaping
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	info, err := json.Marshal(map[string]any{"Version": version, "Time": time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		"list":            []byte(version + "\n"),
		version + ".info": info,
		version + ".mod":  m.goMod,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return err
		}
	}
	return m.writeZip(filepath.Join(dir, version+".zip"))
}

// writeZip follows https://go.dev/ref/mod#zip-files: every name begins with
// path@version/. What else the format asks for the go command checks when it
// unpacks.
func (m *module) writeZip(name string) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}()
	z := zip.NewWriter(f)
	for _, file := range m.files {
		data, err := m.content(file)
		if err != nil {
			return err
		}
		w, err := z.Create(m.path + "@" + version + "/" + file)
		if err != nil {
			return err
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
	// A nested module without a licence gets the repository's, as the go command does it.
	if !slices.Contains(m.files, "LICENSE") {
		if err := m.addLicense(z); err != nil {
			return err
		}
	}
	return z.Close()
}

func (m *module) content(file string) ([]byte, error) {
	if file == "go.mod" {
		return m.goMod, nil
	}
	return fs.ReadFile(os.DirFS(filepath.Join(m.root, m.dir)), file)
}

func (m *module) addLicense(z *zip.Writer) error {
	data, err := os.ReadFile(filepath.Join(m.root, "LICENSE"))
	if err != nil {
		return err
	}
	w, err := z.Create(m.path + "@" + version + "/LICENSE")
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}
