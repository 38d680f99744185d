package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/lockstep-go/lockstep"
)

func (a *app) lsCommand() *cobra.Command {
	return a.asking(&cobra.Command{
		Use:   "ls [PREFIX]",
		Short: "List the locks that are held or waited for",
		Args:  between(0, 1),
	}, func(ctx context.Context, c *lockstep.Client, args []string) error {
		lines, err := busy(ctx, c, strings.Join(args, ""))
		if err != nil {
			return err
		}
		if a.json {
			all := make([]jsonLine, len(lines))
			for i, l := range lines {
				all[i] = toJSON(l)
			}
			return a.printJSON(struct {
				Locks []jsonLine `json:"locks"`
			}{all})
		}
		if len(lines) == 0 {
			return nil
		}
		w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NAME\tKIND\tHOLDERS\tWAITERS")
		for _, l := range lines {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\n", shown(l.Name), l.Kind, len(l.Holders), len(l.Waiters))
		}
		return w.Flush()
	})
}

// busy are the lines with somebody in them, in order of their names.
func busy(ctx context.Context, c *lockstep.Client, prefix string) ([]lockstep.Line, error) {
	names, err := namesWith(ctx, c, prefix)
	if err != nil {
		return nil, err
	}
	var lines []lockstep.Line
	for _, name := range names {
		l, err := c.Line(ctx, name)
		if err != nil {
			return nil, err
		}
		if l.Kind != 0 { // else the last one has left in between
			lines = append(lines, l)
		}
	}
	return lines, nil
}

func namesWith(ctx context.Context, c *lockstep.Client, prefix string) ([]string, error) {
	var names []string
	for name, err := range c.Names(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// completeNames completes the first n arguments (all for -1) from the names that
// are held or waited for.
func (a *app) completeNames(n int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if n >= 0 && len(args) >= n {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		err := a.with(cmd.Context(), func(c *lockstep.Client) (err error) {
			names, err = namesWith(cmd.Context(), c, prefix)
			return err
		})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
