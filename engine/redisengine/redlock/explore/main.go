package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	short := flag.Bool("short", false, "leave out the cases that take long")
	list := flag.Bool("list", false, "only name the cases")
	only := flag.String("run", "", "only the case of this name, with the way to a fault")
	flag.Parse()
	states, bad := 0, 0
	for i := range cases {
		cfg := &cases[i]
		if *only != "" && cfg.name != *only || *short && cfg.long {
			continue
		}
		if *list {
			fmt.Println(cfg.name)
			continue
		}
		begun := time.Now()
		x := explore(cfg, *only != "")
		verdict, ok := judge(cfg, x)
		if !ok {
			bad++
		}
		if cfg.broken == nothing {
			states += x.seen.n
		}
		fmt.Printf("%-45s %12d states %13d steps %11d grants %6.1f s  %s\n",
			cfg.name, x.seen.n, x.steps, x.grants, time.Since(begun).Seconds(), verdict)
		for _, what := range x.way {
			fmt.Println("   ", what)
		}
	}
	if !*list {
		fmt.Printf("%d states in the cases that must hold\n", states)
	}
	if bad > 0 {
		os.Exit(1)
	}
}

// judge says what a case came to, and whether it should have.
func judge(cfg *config, x *search) (string, bool) {
	switch {
	case cfg.broken == nothing && x.fault == "":
		return "holds", x.grants > 0
	case cfg.broken == nothing:
		return "FAULT: " + x.fault, false
	case x.fault == "":
		return "NOT SEEN: " + string(cfg.broken), false
	}
	return "seen: " + x.fault, true
}
