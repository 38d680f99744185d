package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/pprof"
	"strings"
	"time"
)

func tables() []table {
	return []table{fileTable(), redisTable(), redlockTable(), etcdTable(), zkTable(), coreTable(), viewTable(), watchersTable(), largeTable()}
}

func main() {
	if name := os.Getenv(roleVariable); name != "" {
		exit(work(name, os.Stdin, os.Stdout))
	}
	var o options
	flag.IntVar(&o.pairs, "pairs", 12, "interleaved pairs of each comparison; 10 or more for a figure that counts")
	flag.StringVar(&o.only, "only", "", "a table (file, redis, redlock, etcd, zk, core, view, watchers, large), or rows of it: file/hand-off")
	flag.StringVar(&o.dir, "dir", "", "where temporary data goes; it must be on a disk")
	flag.BoolVar(&o.raw, "raw", false, "print every pair as well")
	flag.BoolVar(&o.smoke, "smoke", false, "see that all runs; the figures are worth nothing")
	flag.StringVar(&o.profile, "cpuprofile", "", "write a profile of this process")
	flag.Parse()
	o.command = strings.Join(append([]string{"go run ."}, os.Args[1:]...), " ")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exit(run(ctx, o, os.Stdout, os.Stderr))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

type options struct {
	pairs              int
	only, dir, profile string
	raw, smoke         bool
	command            string
}

func run(ctx context.Context, o options, out, progress io.Writer) (err error) {
	chosen := choose(tables(), o.only)
	if len(chosen) == 0 {
		return fmt.Errorf("no row is called %q", o.only)
	}
	dir, kind, err := onDisk(o.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if o.profile != "" {
		f, err := os.Create(o.profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	var raw strings.Builder
	b := &bench{dir: dir, pairs: max(o.pairs, 1), smoke: o.smoke, raw: func(format string, args ...any) {
		fmt.Fprintf(&raw, format+"\n", args...)
	}}
	before := load()
	fmt.Fprintf(out, "%s, commit %s\n$ %s\n%s\n", time.Now().UTC().Format(time.DateOnly), commit(ctx), o.command, machine(kind))
	for _, t := range chosen {
		if err := t.measure(ctx, b, out, progress); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, `
%d interleaved pairs a comparison, %s; load average %s at the start, %s at the end.
Ratio: the median of the pairs' ratios, and its distribution-free 95 %% interval.
Other figures: medians; times are of p50s of a sample each.
`, b.pairs, pinned(chosen), before, load())
	if o.raw {
		fmt.Fprintf(out, "\nEvery pair, in order:\n%s", raw.String())
	}
	return nil
}

func (t table) measure(ctx context.Context, b *bench, out, progress io.Writer) error {
	var lines []line
	for _, r := range t.rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		began := time.Now()
		got, err := r.measure(b)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name(), err)
		}
		fmt.Fprintf(progress, "%s: %s: %.1f s\n", t.name, r.name(), time.Since(began).Seconds())
		lines = append(lines, got...)
	}
	return printTable(out, t.name, lines)
}

// choose is the tables, or one of them, or the rows of one whose name holds what
// follows the slash.
func choose(all []table, only string) (chosen []table) {
	name, part, _ := strings.Cut(only, "/")
	for _, t := range all {
		if name != "" && t.name != name {
			continue
		}
		c := table{name: t.name}
		for _, r := range t.rows {
			if strings.Contains(r.name(), part) {
				c.rows = append(c.rows, r)
			}
		}
		if len(c.rows) > 0 {
			chosen = append(chosen, c)
		}
	}
	return chosen
}
