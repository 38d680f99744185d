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
	r := newReport(&out)
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
		`{"Action":"output","Package":"p","Test":"TestGood","Output":"=== RUN   TestGood\n"}`,
		`{"Action":"output","Package":"p","Test":"TestGood","Output":"--- PASS: TestGood (0.00s)\n"}`,
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

func TestWhatWasSaidByAnotherTestIsPrintedIfThePackageFails(t *testing.T) {
	events := []string{
		`{"Action":"output","Package":"p","Test":"TestGood","Output":"    bad_test.go:7: the reason\n"}`,
		`{"Action":"output","Package":"p","Test":"TestGood","Output":"--- PASS: TestGood (0.00s)\n"}`,
		`{"Action":"pass","Package":"p","Test":"TestGood"}`,
	}
	printed, _ := read(t, append(events, `{"Action":"fail","Package":"p"}`)...)
	if want := "-- said while tests passed:\n    bad_test.go:7: the reason\n"; printed != want {
		t.Errorf("printed %q, want %q", printed, want)
	}
	if printed, _ := read(t, append(events, `{"Action":"pass","Package":"p"}`)...); printed != "" {
		t.Errorf("printed %q of a package that passed", printed)
	}
}
