package project

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// A path of the machine that something was written on means nothing elsewhere.
func TestNothingCommittedNamesAPathOfOneMachine(t *testing.T) {
	machine := regexp.MustCompile(`(^|[\s"'=:(` + "`" + `])(file://)?/(root|work|home/\w+|Users/\w+|mnt/\w+)/[\w.]`)
	for _, name := range committed(t) {
		data, err := os.ReadFile(filepath.Join(root(t), name))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(data, 0) >= 0 {
			t.Errorf("%s is a binary file", name)
			continue
		}
		for i, line := range bytes.Split(data, []byte("\n")) {
			if machine.Match(line) {
				t.Errorf("%s:%d names a path of one machine: %s", name, i+1, bytes.TrimSpace(line))
			}
		}
	}
}
