package project

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Each package is named after its one idea; these names say that it has none.
func TestNoPackageIsADrawer(t *testing.T) {
	drawers := []string{"util", "utils", "common", "helper", "helpers", "misc", "shared", "base", "lib", "tool"}
	clause := regexp.MustCompile(`(?m)^package (\w+)`)
	for _, name := range withSuffix(t, ".go") {
		pkg := clause.FindStringSubmatch(read(t, name))
		if pkg == nil {
			t.Errorf("%s has no package clause", name)
			continue
		}
		if slices.Contains(drawers, strings.TrimSuffix(pkg[1], "_test")) {
			t.Errorf("%s is in package %s, which names no idea", name, pkg[1])
		}
	}
}

// The rooms of the house. A new one is a decision: write it down in
// docs/decisions, then add it here.
func TestTheTopLevelHoldsOnlyItsRooms(t *testing.T) {
	rooms := []string{
		"cmd", "docs", "engine", "examples", "fence", "internal", "locksteptest", "mutants", "schedule", "scripts",
		".ci", ".github",
	}
	for _, name := range committed(t) {
		room, _, nested := strings.Cut(name, "/")
		if nested && !slices.Contains(rooms, room) {
			t.Errorf("%s: the layout has no room %s/", name, room)
		}
	}
}

// One engine a folder, and users import their client's package beside it: so
// engine/redisengine, not engine/redis.
func TestEnginesAreNamedApartFromTheirClients(t *testing.T) {
	for _, name := range withSuffix(t, ".go") {
		rest, ok := strings.CutPrefix(name, "engine/")
		if !ok || path.Dir(rest) == "." {
			continue
		}
		folder, _, _ := strings.Cut(rest, "/")
		if folder != "enginetest" && !strings.HasSuffix(folder, "engine") {
			t.Errorf("%s: want engine/…engine/ or engine/enginetest/", name)
		}
	}
}
