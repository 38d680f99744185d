package sqliteengine

import (
	"fmt"
	"os"
	"strings"
)

// processState is what the kernel says a process is doing. The state follows
// the program's name, which is in parentheses and may contain some.
func processState(pid int64) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "gone"
	}
	return parseState(string(b))
}

func parseState(stat string) string {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) == 0 {
		return "state unknown"
	}
	switch fields[0] {
	case "T", "t":
		return "stopped"
	case "D":
		return "waiting for the disk"
	case "Z", "X":
		return "dead"
	case "R", "S":
		return "running"
	}
	return "state " + fields[0]
}
