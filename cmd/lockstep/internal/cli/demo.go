package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/lockstep-go/lockstep/cmd/lockstep/internal/demo"
	"github.com/lockstep-go/lockstep/cmd/lockstep/internal/tty"
)

func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "See it work: three workers, one lock, one killed, one frozen",
		Long: `Three worker processes contend for one lock to write one file, on an engine in a
temporary directory. One is killed while it holds, one is frozen past its TTL;
its late write is refused by its token. Takes under half a minute, checks its own
story, and fails if it did not come true.`,
		Args: between(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := demo.Run(cmd.Context(), demo.Screen{Out: a.out, Colour: tty.Colour(a.out), JSON: a.json})
			switch {
			case errors.Is(err, context.Canceled):
				return quit(130)
			case err != nil:
				return &exitError{1, err}
			}
			return nil
		},
	}
}
