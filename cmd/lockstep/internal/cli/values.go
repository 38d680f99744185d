package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/lockstep-go/lockstep"
)

// put, get, del and list. One name is a value; a map and a key are an entry of the
// map. A value is the entry with the empty key of the map of its name.

// entryOf splits NAME or MAP KEY.
func entryOf(args []string) (name, key string) {
	if len(args) > 1 {
		key = args[1]
	}
	return args[0], key
}

func (a *app) putCommand() *cobra.Command {
	return a.asking(&cobra.Command{
		Use:     "put NAME VALUE | put MAP KEY VALUE",
		Short:   "Write a value, or an entry of a map",
		Long:    "Writes a value, or an entry of a map. VALUE - is read from standard input as it is.",
		Example: "  lockstep put /config/limit 10\n  lockstep put workers host-7 - < host-7.json",
		Args:    between(2, 3),
	}, func(ctx context.Context, c *lockstep.Client, args []string) error {
		name, key := entryOf(args[:len(args)-1])
		value := []byte(args[len(args)-1])
		if string(value) == "-" {
			var err error
			// One byte more than fits, so that the library says how much does.
			if value, err = io.ReadAll(io.LimitReader(a.in, lockstep.MaxValue+1)); err != nil {
				return usage("standard input: %w", err)
			}
		}
		rev, err := c.Map(name).Put(ctx, key, value)
		return a.wrote(rev, err)
	})
}

func (a *app) delCommand() *cobra.Command {
	return a.asking(&cobra.Command{
		Use:   "del NAME | del MAP KEY",
		Short: "Delete a value, or an entry of a map",
		Long:  "Deletes a value, or an entry of a map. One that is not there is deleted already.",
		Args:  between(1, 2),
	}, func(ctx context.Context, c *lockstep.Client, args []string) error {
		name, key := entryOf(args)
		rev, err := c.Map(name).Delete(ctx, key)
		return a.wrote(rev, err)
	})
}

// wrote is the answer to a write: nothing, or the map's revision.
func (a *app) wrote(rev lockstep.Revision, err error) error {
	if err != nil || !a.json {
		return err
	}
	return a.printJSON(struct {
		Revision lockstep.Revision `json:"revision"`
	}{rev})
}

func (a *app) getCommand() *cobra.Command {
	var raw bool
	cmd := &cobra.Command{
		Use:   "get NAME | get MAP KEY",
		Short: "Print a value, or an entry of a map",
		Long:  "Prints a value, or an entry of a map, and a newline. Exits 1 if there is none.",
		Args:  between(1, 2),
	}
	cmd.Flags().BoolVarP(&raw, "raw", "r", false, "print the value's bytes and no newline")
	return a.asking(cmd, func(ctx context.Context, c *lockstep.Client, args []string) error {
		name, key := entryOf(args)
		e, err := c.Map(name).Get(ctx, key)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(entryJSON(e))
		}
		if !raw {
			e.Value = append(e.Value, '\n')
		}
		_, err = a.out.Write(e.Value)
		return err
	})
}

// jsonEntry is an entry of a map; the key of a value is empty.
type jsonEntry struct {
	Key string `json:"key"`
	jsonValue
	Revision lockstep.Revision `json:"revision"`
}

func entryJSON(e lockstep.Entry) jsonEntry {
	return jsonEntry{e.Key, valueJSON(e.Value), e.Revision}
}

func (a *app) listCommand() *cobra.Command {
	return a.asking(&cobra.Command{
		Use:   "list MAP",
		Short: "Print the entries of a map",
		Long: "Prints the entries of a map, one a line: key, tab, value. What is not plain text is\n" +
			"quoted as in Go; --json has it exactly.",
		Args: between(1, 1),
	}, func(ctx context.Context, c *lockstep.Client, args []string) error {
		snap, err := c.Map(args[0]).List(ctx)
		if err != nil {
			return err
		}
		if a.json {
			entries := make([]jsonEntry, len(snap.Entries))
			for i, e := range snap.Entries {
				entries[i] = entryJSON(e)
			}
			return a.printJSON(struct {
				Map      string            `json:"map"`
				Revision lockstep.Revision `json:"revision"`
				Entries  []jsonEntry       `json:"entries"`
			}{args[0], snap.Revision, entries})
		}
		for _, e := range snap.Entries {
			fmt.Fprintf(a.out, "%s\t%s\n", shown(e.Key), shown(string(e.Value)))
		}
		return nil
	})
}
