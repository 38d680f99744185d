package main

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

//go:embed consumer.go.txt
var consumerProgram string

// consume builds and runs a program that knows the modules by version alone.
func consume(root, tmp string, env []string) error {
	dir := filepath.Join(tmp, "consumer")
	if err := os.Mkdir(dir, 0o750); err != nil {
		return err
	}
	// The checksums of third parties are those that the file engine has
	// reviewed; the go command adds those of the packed modules.
	sums, err := os.ReadFile(filepath.Join(root, "engine", "sqliteengine", "go.sum"))
	if err != nil {
		return err
	}
	goMod := fmt.Sprintf("module example.org/consumer\n\ngo 1.26.0\n\nrequire (\n\t%[1]s %[2]s\n\t%[1]s/engine/sqliteengine %[2]s\n)\n",
		modulePath, version)
	for name, data := range map[string]string{"go.mod": goMod, "go.sum": string(sums), "main.go": consumerProgram} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			return err
		}
	}

	if _, err := output(command(dir, env, "go", "build", "-mod=mod", "-o", "consumer", ".")); err != nil {
		return err
	}
	said, err := output(command(dir, env, filepath.Join(dir, "consumer"), filepath.Join(tmp, "store")))
	if err != nil {
		return err
	}
	fmt.Println(said)
	return nil
}

// install is what a user of the command alone types.
func install(tmp string, env []string) error {
	bin := filepath.Join(tmp, "bin")
	target := modulePath + "/cmd/lockstep@" + version
	if _, err := output(command(tmp, append(env, "GOBIN="+bin), "go", "install", target)); err != nil {
		return err
	}
	said, err := output(command(tmp, nil, filepath.Join(bin, "lockstep"), "version"))
	if err != nil {
		return err
	}
	if !strings.Contains(said, version) {
		return fmt.Errorf("lockstep version says %q, want %s in it", said, version)
	}
	fmt.Printf("go install %s: %s\n", target, said)
	return nil
}

// buildWithOldest builds and vets the core with the release that its go line
// names, which the go command brings.
func buildWithOldest(root, goLine string) error {
	env := []string{"GOTOOLCHAIN=go" + goLine, "GOWORK=off"}
	used, err := output(command(root, env, "go", "version"))
	if err != nil {
		return fmt.Errorf("bring go %s: %w", goLine, err)
	}
	if !strings.Contains(used, "go"+goLine+" ") {
		return fmt.Errorf("wanted go %s, got %s", goLine, used)
	}
	if _, err := output(command(root, env, "go", "vet", "./...")); err != nil {
		return fmt.Errorf("the core with go %s, the oldest it states: %w", goLine, err)
	}
	fmt.Printf("the core builds with %s\n", used)
	return nil
}
