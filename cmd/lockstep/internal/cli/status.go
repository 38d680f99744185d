package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

func (a *app) statusCommand() *cobra.Command {
	return a.asking(&cobra.Command{
		Use:               "status NAME",
		Short:             "Show who holds a lock and who waits, in order",
		Args:              between(1, 1),
		ValidArgsFunction: a.completeNames(1),
	}, func(ctx context.Context, c *lockstep.Client, args []string) error {
		l, err := c.Line(ctx, args[0])
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(toJSON(l))
		}
		return a.printLine(l)
	})
}

func (a *app) printLine(l lockstep.Line) error {
	if l.Kind == 0 {
		_, err := fmt.Fprintf(a.out, "%s is free\n", shown(l.Name))
		return err
	}
	fmt.Fprintf(a.out, "%s: %s", shown(l.Name), l.Kind)
	if l.Kind == engine.Semaphore {
		fmt.Fprintf(a.out, " of %d", l.Limit)
	}
	fmt.Fprintln(a.out)
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, h := range l.Holders {
		fmt.Fprintf(w, "  holder\t%s\n", strings.Join(details(l, h), "\t"))
	}
	for i, p := range l.Waiters {
		fmt.Fprintf(w, "  %s in line\t%s\n", ordinal(i+1), strings.Join(details(l, p), "\t"))
	}
	return w.Flush()
}

func details(l lockstep.Line, p lockstep.Place) []string {
	d := []string{who(p)}
	age := ""
	if p.Age > 0 {
		age = "for " + brief(p.Age).String()
	}
	d = append(d, age)
	switch {
	case l.Kind == engine.ReadWrite && p.Shares == engine.Unlimited:
		d = append(d, "exclusive")
	case l.Kind == engine.ReadWrite:
		d = append(d, "shared")
	case l.Kind == engine.Semaphore:
		d = append(d, fmt.Sprintf("shares %d", p.Shares))
	}
	if p.Token != 0 {
		d = append(d, fmt.Sprintf("token %d", p.Token))
	}
	return append(d, "id "+shown(string(p.ID)))
}
