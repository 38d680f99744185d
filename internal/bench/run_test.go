package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/internal/need"
)

// The test's own program is what its rows start again as their second processes.
func TestMain(m *testing.M) {
	if name := os.Getenv(roleVariable); name != "" {
		exit(work(name, os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

func needsDisk(t *testing.T) {
	t.Helper()
	dir, _, err := onDisk("")
	need.That(t, "Linux, and a disk to measure on", err)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
}

func TestEveryRowRuns(t *testing.T) {
	needsDisk(t)
	t.Setenv("GORACE", "atexit_sleep_ms=0") // or each of a hundred workers ends a second late
	for _, table := range tables() {
		t.Run(table.name, func(t *testing.T) {
			if program, needed := servers[table.name]; needed {
				need.Program(t, program, debian[program])
			}
			var out, progress bytes.Buffer
			if err := run(t.Context(), options{pairs: 1, smoke: true, raw: true, only: table.name}, &out, &progress); err != nil {
				t.Fatalf("%v\nso far:\n%s%s", err, progress.String(), out.String())
			}
			for _, r := range table.rows {
				if !strings.Contains(out.String(), r.name()) {
					t.Errorf("nothing is printed of %q", r.name())
				}
			}
			t.Log(out.String())
		})
	}
}

// servers are the programs that tables need beside this one.
var servers = map[string]string{
	"redis": "redis-server", "redlock": "redis-server", "zk": "java", "etcd": "go", "large": "java", "watchers": "redis-server",
}

// debian is which package has a program.
var debian = map[string]string{"redis-server": "redis-server", "java": "default-jdk-headless", "go": "golang-go"}

// What is published names no machine and no path.
func TestTheOutputSaysWhereItRanByKindOnly(t *testing.T) {
	needsDisk(t)
	var out, progress bytes.Buffer
	if err := run(t.Context(), options{pairs: 1, smoke: true, raw: true, only: "core"}, &out, &progress); err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, private := range []string{host, os.TempDir() + "/", "lockstep-bench-"} {
		if strings.Contains(out.String(), private) {
			t.Errorf("the output contains %q:\n%s", private, out.String())
		}
	}
}

func TestRowsAreChosenByTableAndName(t *testing.T) {
	all := []table{{"file", []row{holdRow{}, crowdRow{}}}, {"core", []row{holdRow{}}}}
	for only, want := range map[string]int{"": 3, "file": 2, "core": 1, "file/waiters": 1, "file/no such": 0, "redis": 0} {
		got := 0
		for _, t := range choose(all, only) {
			got += len(t.rows)
		}
		if got != want {
			t.Errorf("-only %q chooses %d rows, want %d", only, got, want)
		}
	}
}

func TestAWorkerThatFailsSaysWhy(t *testing.T) {
	_, err := start("turns", job{Dir: t.TempDir(), Kind: "nothing known"})
	if err == nil || !strings.Contains(err.Error(), "worker: ") {
		t.Errorf("got %v", err)
	}
}

func TestTheTableStandsInColumns(t *testing.T) {
	var out bytes.Buffer
	err := printTable(&out, "file", []line{
		{what: "long name", ours: "7.50 µs", peer: "peer", theirs: "10.0 µs", ratio: "0.750 [0.700, 0.800]", target: target{atMost: 0.5}, got: 0.75},
		{what: "short", ours: "1010 µs"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `
file
             Lockstep  against      its  ratio [95 %]          target
  long name   7.50 µs  peer     10.0 µs  0.750 [0.700, 0.800]  ≤ 0.5   missed
  short       1010 µs
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
