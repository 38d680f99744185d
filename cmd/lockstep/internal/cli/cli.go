// Package cli is the command's face: one file a subcommand. What every subcommand
// shares is here (flags, start), in errors.go (exit codes), open.go (the engine)
// and print.go (text and JSON).
package cli

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lockstep-go/lockstep"
)

// app is one run of the command.
type app struct {
	in       *os.File
	out, err *os.File

	engine       string
	passwordFile string
	json         bool
	verbose      bool
	timeout      seconds
}

// Main runs the command and returns its exit code.
func Main(args []string) int {
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	root := a.root()
	root.SetArgs(args)
	return a.exit(root.Execute())
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "lockstep",
		Short: "Run a command while holding a lock, and share state between programs",
		Long: `Lockstep is for programs that run as many copies and must agree: who may act
(locks, elections), and what everyone sees (values and maps that are watched, votes,
members).

  lockstep lock nightly -- ./report.sh     run it, never twice at a time
  lockstep status nightly                  who holds it, who waits
  lockstep elect scheduler -- ./run.sh     run it on one host; another takes over
  lockstep vote deploy/7 yes --as a --voters 3
  lockstep demo                            see it work, in half a minute

The engine is --engine URL or LOCKSTEP_URL; without either it is a directory of
this user on this host, and nothing has to be started.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		text := err.Error()
		if number, ok := errors.AsType[*strconv.NumError](err); ok {
			text = strings.Replace(text, number.Error(), "it takes a whole number of up to 18 digits", 1)
		}
		return usage("%s: see %s --help", text, cmd.CommandPath())
	})
	f := root.PersistentFlags()
	f.StringVar(&a.engine, "engine", "", "engine `URL` (default $LOCKSTEP_URL, or a directory of this user)")
	f.StringVar(&a.passwordFile, "password-file", "", "`file` whose first line is the engine's password (default $LOCKSTEP_PASSWORD)")
	f.BoolVar(&a.json, "json", false, "print JSON, errors included")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "say on standard error what happens")
	root.AddCommand(
		a.lockCommand(), a.semCommand(), a.electCommand(), a.leaderCommand(), a.onceCommand(), a.cronCommand(), a.demoCommand(),
		a.voteCommand(), a.barrierCommand(), a.joinCommand(), a.membersCommand(),
		a.putCommand(), a.getCommand(), a.delCommand(), a.listCommand(), a.watchCommand(),
		a.lsCommand(), a.statusCommand(), a.releaseCommand(), a.doctorCommand(), a.versionCommand(),
	)
	return root
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("unknown command %q: see lockstep --help", args[0])
	}
	return nil
}

// between is how many arguments a subcommand takes.
func between(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return usage("usage: %s", cmd.UseLine())
		}
		return nil
	}
}

// asking is a subcommand that asks the engine once: its context ends with
// --timeout, and its client when it returns.
func (a *app) asking(cmd *cobra.Command, run func(ctx context.Context, c *lockstep.Client, args []string) error) *cobra.Command {
	a.timeoutFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := a.bounded(cmd.Context())
		defer cancel()
		return a.with(ctx, func(c *lockstep.Client) error { return run(ctx, c, args) })
	}
	return cmd
}

func (a *app) timeoutFlag(cmd *cobra.Command) {
	cmd.Flags().Var(&a.timeout, "timeout", "how long the engine may take to answer: `duration` such as 30s, 1m30s or 0.5 (default: no limit)")
}

// bounded is a context that ends with --timeout.
func (a *app) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.timeout.given {
		return context.WithTimeout(ctx, a.timeout.d)
	}
	return context.WithCancel(ctx)
}
