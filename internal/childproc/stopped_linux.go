package childproc

import (
	"bytes"
	"fmt"
	"os"
)

// Stopped reports whether a process stands still: the signal only asks it to.
func Stopped(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true // it is gone
	}
	// pid (name) state …: the name may hold anything, also ")".
	_, rest, _ := bytes.Cut(stat[max(bytes.LastIndexByte(stat, ')'), 0):], []byte(" "))
	return len(rest) > 0 && (rest[0] == 'T' || rest[0] == 'Z')
}
