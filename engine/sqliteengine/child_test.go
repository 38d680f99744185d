package sqliteengine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

// serve is the life of a child.
func serve(dir string) {
	ctx := context.Background()
	e, err := Open(ctx, dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	var session *Session
	held := make(map[string]*engine.Claim)
	m := &mortal{Engine: e}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		words := strings.Fields(in.Text())
		switch words[0] {
		case "begin": // begin TTL
			ttl, _ := time.ParseDuration(words[1])
			s, err := e.Begin(ctx, engine.SessionOptions{TTL: ttl})
			if err == nil {
				session = s.(*Session)
			}
			say(err, "begun")
		case "acquire": // acquire NAME
			c := mutex(words[1])
			g, err := session.Acquire(ctx, c, false)
			held[words[1]] = c
			say(err, strconv.FormatUint(uint64(g.Token), 10))
		case "join": // join GROUP ID
			c := mutex(words[1])
			c.Kind, c.Limit, c.Note = engine.Group, engine.Unlimited, []byte("1 "+words[2]+"\n")
			_, err := session.Acquire(ctx, c, false)
			say(err, "joined")
		case "release": // release NAME
			_, err := session.Release(ctx, held[words[1]])
			say(err, "released")
		case "renew":
			_, err := session.Renew(ctx, nil)
			say(err, "renewed")
		case "end":
			say(session.End(ctx, nil), "ended")
		case "gate": // stays inside
			say(e.writer.gate.enter(nil), "inside")
		case "contend": // contend NAME ROUNDS FILE
			say(contend(ctx, session, words[1], words[2], words[3]), "done")
		case "append": // append MAP ROUNDS
			say(appendTo(ctx, e, words[1], words[2]), "done")
		case "put": // put MAP KEY VALUE
			_, err := e.Store().Commit(ctx, words[1], engine.Tx{Put: []engine.Entry{{Key: words[2], Value: []byte(words[3])}}})
			say(err, "done")
		case "count": // count NAME ROUNDS
			say(count(ctx, e, words[1], words[2]), "done")
		case "mortal": // mortal CALL before|after
			m.at, _ = strconv.Atoi(words[1])
			m.after = words[2] == "after"
			say(nil, "mortal")
		case "once": // once RESULT; answers RESULT CALLS
			r, err := runOnce(ctx, m, words[1])
			say(err, fmt.Sprint(r, " ", m.made()))
		case "vote": // vote ID CHOICE; answers CALLS
			say(castVote(ctx, m, words[1], words[2]), strconv.Itoa(m.made()))
		case "guard": // a process that keeps the session alive
			pid, err := guard(session)
			say(err, strconv.Itoa(pid))
		}
	}
}

func say(err error, answer string) {
	switch {
	case errors.Is(err, engine.ErrSessionEnded):
		answer = "session ended"
	case err != nil:
		answer = "error: " + strings.ReplaceAll(err.Error(), "\n", " ")
	}
	fmt.Println(answer)
}

// count adds as a program of a user's does.
func count(ctx context.Context, e *Engine, name, rounds string) error {
	n, _ := strconv.Atoi(rounds)
	c, err := lockstep.New(e, lockstep.WithLogger(nil))
	if err != nil {
		return err
	}
	for range n {
		if _, err := c.Counter(name).Add(ctx, 1); err != nil {
			return err
		}
	}
	return c.Close()
}

// contend takes turns: while it holds the name it makes a file that nobody else
// may have, and notes its token in it.
func contend(ctx context.Context, s *Session, name, rounds, file string) error {
	n, _ := strconv.Atoi(rounds)
	for range n {
		c := mutex(name)
		g, err := s.Acquire(ctx, c, false)
		if err != nil {
			return err
		}
		if err := alone(file, g.Token); err != nil {
			return err
		}
		if _, err := s.Release(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func alone(file string, token engine.Token) error {
	mark, err := os.OpenFile(file+".held", os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("not alone: %w", err)
	}
	defer func() { _ = mark.Close() }()
	log, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(log, token)
	return errors.Join(err, log.Close(), os.Remove(file+".held"))
}

// appendTo adds to a number, by compare and swap.
func appendTo(ctx context.Context, e *Engine, m, rounds string) error {
	n, _ := strconv.Atoi(rounds)
	for done := 0; done < n; {
		entry, err := e.Store().Get(ctx, m, "k")
		if err != nil && !errors.Is(err, engine.ErrNotFound) {
			return err
		}
		is, _ := strconv.Atoi(string(entry.Value))
		_, err = e.Store().Commit(ctx, m, engine.Tx{
			If:  []engine.Cond{{Key: "k", Revision: entry.Revision}},
			Put: []engine.Entry{{Key: "k", Value: []byte(strconv.Itoa(is + 1))}},
		})
		switch {
		case err == nil:
			done++
		case !errors.Is(err, engine.ErrConflict):
			return err
		}
	}
	return nil
}

// guard starts a process that does nothing but keep a descriptor of the session.
func guard(s *Session) (int, error) {
	f, err := s.LivenessFile()
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	cmd := exec.Command("sleep", "600")
	cmd.ExtraFiles = []*os.File{f}
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	return cmd.Process.Pid, nil
}
