// Package lua reads the programs that servers run. They live in files, one
// algorithm a file; a line `--@ name` in one stands for the file name.lua beside it.
package lua

import (
	"crypto/sha1" //nolint:gosec // G505: Redis knows scripts by their SHA-1; nothing rests on its strength
	"encoding/hex"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// Script is one program with its hash.
type Script struct{ Name, Source, SHA string }

// Load reads lua/name.lua and what it includes. keep is for how long what has to
// be remembered is: RETENTION_MS in a script.
func Load(files fs.FS, name string, keep time.Duration) *Script {
	source := strings.ReplaceAll(include(files, name), "RETENTION_MS", strconv.FormatInt(keep.Milliseconds(), 10))
	sum := sha1.Sum([]byte(source)) //nolint:gosec // G401: see the import
	return &Script{Name: name, Source: source, SHA: hex.EncodeToString(sum[:])}
}

// include replaces the lines that name other files.
func include(files fs.FS, name string) string {
	source, err := fs.ReadFile(files, "lua/"+name+".lua")
	if err != nil {
		return fmt.Sprintf("error(%q)", err) // an embedded file is always there: a test loads all
	}
	lines := strings.Split(string(source), "\n")
	for i, line := range lines {
		if part, ok := strings.CutPrefix(line, "--@ "); ok {
			lines[i] = include(files, part)
		}
	}
	return strings.Join(lines, "\n")
}
