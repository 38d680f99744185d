package cli

import (
	"bytes"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/lockstep-go/lockstep"
)

const membersHelp = `Prints the members of a group in the order in which they joined, one a line: id, tab,
data. What is not plain text is quoted as in Go; --json has it exactly.

With --watch it prints them, and then every change, one a line: joined or changed, id,
data; or left, id. Changes in between may be missing, the last never is.`

func (a *app) membersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "members GROUP",
		Short:             "Print the members of a group",
		Long:              membersHelp,
		Args:              between(1, 1),
		ValidArgsFunction: a.completeNames(1),
	}
	a.asking(cmd, func(ctx context.Context, c *lockstep.Client, args []string) error {
		members, err := c.Group(args[0]).Members(ctx)
		if err != nil {
			return err
		}
		return a.printMembers(args[0], members)
	})
	a.watching(cmd, func(ctx context.Context, c *lockstep.Client, name string) error {
		var before []lockstep.Member
		for now, err := range c.Group(name).Watch(ctx) {
			if err == nil {
				err = a.printMemberChanges(name, before, now)
			}
			if err != nil {
				return err
			}
			before = now
		}
		return nil
	})
	return cmd
}

func (a *app) printMembers(group string, members []lockstep.Member) error {
	if a.json {
		all := make([]jsonMember, len(members))
		for i, m := range members {
			all[i] = jsonMember{m.ID, dataJSON(m.Data), m.Token, m.Foreign}
		}
		return a.printJSON(struct {
			Group   string       `json:"group"`
			Members []jsonMember `json:"members"`
		}{group, all})
	}
	for _, m := range members {
		if _, err := fmt.Fprintf(a.out, "%s\t%s\n", shown(m.ID), shown(string(m.Data))); err != nil {
			return err
		}
	}
	return nil
}

// printMemberChanges prints who has left, joined or changed; as JSON all members.
func (a *app) printMemberChanges(group string, before, now []lockstep.Member) error {
	if a.json {
		return a.printMembers(group, now)
	}
	for _, m := range before {
		if still, ok := memberNamed(m.ID, now); !ok || still.Token != m.Token {
			if _, err := fmt.Fprintf(a.out, "left\t%s\n", shown(m.ID)); err != nil {
				return err
			}
		}
	}
	for _, m := range now {
		op := "joined"
		if was, ok := memberNamed(m.ID, before); ok && was.Token == m.Token {
			if bytes.Equal(was.Data, m.Data) {
				continue
			}
			op = "changed"
		}
		if _, err := fmt.Fprintf(a.out, "%s\t%s\t%s\n", op, shown(m.ID), shown(string(m.Data))); err != nil {
			return err
		}
	}
	return nil
}

func memberNamed(id string, members []lockstep.Member) (lockstep.Member, bool) {
	for _, m := range members {
		if m.ID == id {
			return m, true
		}
	}
	return lockstep.Member{}, false
}

type jsonMember struct {
	ID string `json:"id"`
	jsonData
	Token   lockstep.Token `json:"token,omitempty,string"`
	Foreign bool           `json:"foreign,omitempty"`
}

// jsonData is a member's data: as text where it is text, else in base64.
type jsonData struct {
	Data   *string `json:"data,omitempty"`
	Base64 []byte  `json:"data_base64,omitempty"`
}

func dataJSON(data []byte) jsonData {
	v := valueJSON(data)
	return jsonData{v.Value, v.Base64}
}
