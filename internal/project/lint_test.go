package project

import (
	"regexp"
	"strings"
	"testing"
)

// A linter that is off without a reason is one that was in somebody's way.
func TestEveryDisabledLinterSaysWhy(t *testing.T) {
	item := regexp.MustCompile(`^\s*- ([\w-]+)\s*(?:# *(.*))?$`)
	list := regexp.MustCompile(`^(\s*)(disable|excludes|presets):\s*$`)
	var indent string
	inList, seen := false, 0
	for i, line := range strings.Split(read(t, ".golangci.yml"), "\n") {
		if m := list.FindStringSubmatch(line); m != nil {
			inList, indent = true, m[1]
			continue
		}
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || strings.HasPrefix(trimmed, "#") {
			continue
		}
		if inList && (!strings.HasPrefix(line, indent+" ") || !strings.HasPrefix(trimmed, "- ")) {
			inList = false
		}
		if !inList {
			continue
		}
		seen++
		if m := item.FindStringSubmatch(line); m == nil || len(m[2]) < len("as wsl_v5") {
			t.Errorf(".golangci.yml:%d: %s is off and does not say why", i+1, trimmed)
		}
	}
	if seen == 0 {
		t.Fatal("found no disabled linter: has the file's form changed?")
	}
}
