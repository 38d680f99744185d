package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockstep-go/lockstep"
)

const watchHelp = `Prints the value NAME, or the map's entries, and then every change, one a line:
revision, put or delete, key (empty for the value itself), value.

With a command it is run for each change, one after the other, with the value on
standard input and in its environment LOCKSTEP_MAP, LOCKSTEP_OP (put or delete),
LOCKSTEP_KEY, LOCKSTEP_REVISION, LOCKSTEP_SNAPSHOT (1: it was so when the watch
began) and LOCKSTEP_VALUE (where it is text of up to 64 KiB). A command that fails
is told on standard error, and the watch goes on.

Changes come in order and none twice. After an interruption the state may have
moved on: changes in between may then be missing, the last state never is.`

func (a *app) watchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "watch NAME [-- COMMAND [ARG...]]",
		Short: "Print the changes of a value or map, or run a command for each",
		Long:  watchHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			args, argv := words(cmd, args)
			if len(args) != 1 {
				return usage("usage: lockstep watch NAME [-- COMMAND]")
			}
			return a.watch(cmd.Context(), args[0], argv)
		},
	}
}

func (a *app) watch(ctx context.Context, name string, argv []string) error {
	return a.await(ctx, &waitFlags{}, name, "", func(w *wait, c *lockstep.Client) error {
		for ch, err := range c.Map(name).Watch(w) {
			if err == nil {
				err = a.showChange(w, name, ch, argv)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (a *app) showChange(ctx context.Context, name string, ch lockstep.Change, argv []string) error {
	if len(argv) > 0 {
		return a.runChange(ctx, name, ch, argv)
	}
	return a.printChange(name, ch)
}

// jsonChange is a change. Without an op it says that the watch is up to date.
type jsonChange struct {
	Map      string            `json:"map"`
	Op       string            `json:"op,omitempty"`
	Key      string            `json:"key"`
	Revision lockstep.Revision `json:"revision"`
	Synced   bool              `json:"synced"`
	Snapshot bool              `json:"snapshot,omitempty"`
	Resync   bool              `json:"resync,omitempty"`
	*jsonValue
}

func opName(op lockstep.Op) string {
	switch op {
	case lockstep.OpPut:
		return "put"
	case lockstep.OpDelete:
		return "delete"
	}
	return ""
}

func (a *app) printChange(name string, ch lockstep.Change) error {
	if a.json {
		j := jsonChange{name, opName(ch.Op), ch.Key, ch.Revision, ch.Synced, ch.Snapshot, ch.Resync, nil}
		if ch.Op == lockstep.OpPut {
			v := valueJSON(ch.Value)
			j.jsonValue = &v
		}
		return a.printJSON(j)
	}
	var err error
	switch ch.Op {
	case lockstep.OpPut:
		_, err = fmt.Fprintf(a.out, "%d\tput\t%s\t%s\n", ch.Revision, shown(ch.Key), shown(string(ch.Value)))
	case lockstep.OpDelete:
		_, err = fmt.Fprintf(a.out, "%d\tdelete\t%s\n", ch.Revision, shown(ch.Key))
	}
	return err
}

// maxEnvValue is what fits an environment everywhere, with room for the rest.
const maxEnvValue = 64 << 10

func (a *app) runChange(ctx context.Context, name string, ch lockstep.Change, argv []string) error {
	if ch.Op == lockstep.OpNone {
		return nil
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second // then KILL
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(ch.Value), a.out, a.err
	cmd.Env = append(childEnv(os.Environ(), nil, nil, a.shownURL()),
		"LOCKSTEP_MAP="+name, "LOCKSTEP_OP="+opName(ch.Op), "LOCKSTEP_KEY="+ch.Key,
		"LOCKSTEP_REVISION="+strconv.FormatUint(uint64(ch.Revision), 10), "LOCKSTEP_SNAPSHOT=")
	if ch.Snapshot {
		cmd.Env = append(cmd.Env, "LOCKSTEP_SNAPSHOT=1")
	}
	if len(ch.Value) <= maxEnvValue && !bytes.ContainsRune(ch.Value, 0) {
		cmd.Env = append(cmd.Env, "LOCKSTEP_VALUE="+string(ch.Value))
	}
	err := cmd.Run()
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return ctx.Err() // the user ended both
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist):
		return &exitError{127, fmt.Errorf("%s: command not found", argv[0])}
	case errors.Is(err, os.ErrPermission):
		return &exitError{126, err}
	default: // it failed: the next change may do better
		a.warn(fmt.Sprintf("%s: %v", argv[0], err))
	}
	return nil
}
