package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
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

// pinned says what was, by whoever started this (taskset).
func pinned() string {
	if n := runtime.NumCPU(); n < cores() {
		return fmt.Sprintf("pinned to %d of %d cores", n, cores())
	}
	return "nothing pinned"
}

// commit is what was measured; "-dirty": and something that is not committed.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "-c", "safe.directory=*", "describe", "--always", "--dirty", "--exclude=*").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
