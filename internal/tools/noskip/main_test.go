package main

import (
	"slices"
	"strings"
	"testing"
)

// read gives a run's events to a report and returns what it printed and which
// tests it found skipped.
func read(t *testing.T, events ...string) (printed string, skipped []string) {
	t.Helper()
	var out strings.Builder
	r := report{out: &out, said: map[test]*strings.Builder{}}
	if err := r.read(strings.NewReader(strings.Join(events, "\n"))); err != nil {
		t.Fatal(err)
	}
	return out.String(), r.skipped
}

func TestASkippedTestIsNamedWithItsReason(t *testing.T) {
	_, skipped := read(t,
		`{"Action":"run","Package":"p","Test":"TestA"}`,
		`{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}`,
		`{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:9: needs a server\n"}`,
		`{"Action":"skip","Package":"p","Test":"TestA"}`)
	if want := []string{"p TestA\n    a_test.go:9: needs a server\n"}; !slices.Equal(skipped, want) {
		t.Errorf("skipped %q, want %q", skipped, want)
	}
}

func TestAPackageWithoutTestsIsNotSkipped(t *testing.T) {
	_, skipped := read(t,
		`{"Action":"output","Package":"p","Output":"?   \tp\t[no test files]\n"}`,
		`{"Action":"skip","Package":"p"}`)
	if len(skipped) != 0 {
		t.Errorf("skipped %q, want none", skipped)
	}
}

func TestOnlyFailuresAndClosingLinesArePrinted(t *testing.T) {
	printed, _ := read(t,
		`{"Action":"output","Package":"p","Test":"TestGood","Output":"fine\n"}`,
		`{"Action":"pass","Package":"p","Test":"TestGood"}`,
		`{"Action":"output","Package":"p","Test":"TestBad","Output":"=== RUN   TestBad\n"}`,
		`{"Action":"output","Package":"p","Test":"TestBad","Output":"--- FAIL: TestBad (0.00s)\n"}`,
		`{"Action":"fail","Package":"p","Test":"TestBad"}`,
		`{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}`,
		`{"Action":"fail","Package":"p"}`)
	if want := "--- FAIL: TestBad (0.00s)\nFAIL\tp\t0.1s\n"; printed != want {
		t.Errorf("printed %q, want %q", printed, want)
	}
}

func TestWhatAPanicCutOffIsPrinted(t *testing.T) {
	printed, _ := read(t,
		`{"Action":"output","Package":"p","Test":"TestHangs","Output":"panic: test timed out\n"}`,
		`{"Action":"fail","Package":"p"}`)
	if want := "panic: test timed out\n"; printed != want {
		t.Errorf("printed %q, want %q", printed, want)
	}
}
