package demo

import (
	"fmt"
	"os"

	"github.com/lockstep-go/lockstep"
)

// storage is the file that the workers write, behind the fence that makes a lock
// safe: it remembers the greatest token it has seen, and refuses a smaller one.
type storage struct {
	file     *os.File
	greatest lockstep.Token
	tokens   []lockstep.Token // of the lines written, in order
	refused  []lockstep.Token
}

func (s *storage) write(token lockstep.Token, line string) (stored bool, err error) {
	if token < s.greatest {
		s.refused = append(s.refused, token)
		return false, nil
	}
	s.greatest = token
	s.tokens = append(s.tokens, token)
	_, err = fmt.Fprintf(s.file, "%d %s\n", token, line)
	return true, err
}
