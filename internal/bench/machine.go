package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
)

// machine says on what the figures were made, and names nobody's.
func machine(fileSystem string) string {
	return fmt.Sprintf("%d × %s, Linux %s, %s, %s", cores(), cpu(), kernel(), fileSystem, runtime.Version())
}

func cpu() string {
	return firstMatch("/proc/cpuinfo", `(?m)^model name\s*: (.*)$`, "unknown processor")
}

// kernel is the version alone: what follows is whoever built it.
func kernel() string {
	return firstMatch("/proc/sys/kernel/osrelease", `^([0-9.]+)`, "of unknown version")
}

func load() string { return firstMatch("/proc/loadavg", `^(\S+)`, "unknown") }

func firstMatch(file, pattern, otherwise string) string {
	text, _ := os.ReadFile(file)
	if m := regexp.MustCompile(pattern).FindSubmatch(text); m != nil {
		return string(m[1])
	}
	return otherwise
}

// cores are the machine's, whether this process may use them or not.
func cores() int {
	text, _ := os.ReadFile("/proc/cpuinfo")
	return strings.Count(string(text), "processor\t:")
}

// onCore is a command that runs another on the i-th core that there is, counted
// round; nil: this process may not use all cores, or there is no taskset.
func onCore(i int) []string {
	taskset, err := exec.LookPath("taskset")
	if err != nil || runtime.NumCPU() < cores() {
		return nil
	}
	return []string{taskset, "-c", strconv.Itoa(i % cores())}
}

// pins are what is pinned in each table, where this program can.
var pins = map[string]string{
	"file":  "file: processes that take turns pinned to the cores in turn",
	"redis": "redis: each server pinned to one core, the client of \"" + uncontended + "\" to another",
}

// pinned says what was, by this program or by whoever started it.
func pinned(tables []table) string {
	if n := runtime.NumCPU(); n < cores() {
		return fmt.Sprintf("pinned as a whole to %d of %d cores", n, cores())
	}
	if onCore(0) == nil {
		return "nothing pinned"
	}
	var all []string
	for _, t := range tables {
		if what := pins[t.name]; what != "" {
			all = append(all, what)
		}
	}
	if len(all) == 0 {
		return "nothing pinned"
	}
	return strings.Join(all, "; ") + "; nothing else pinned"
}

// commit is what was measured; "-dirty": and something that is not committed.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "-c", "safe.directory=*", "describe", "--always", "--dirty", "--exclude=*").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
