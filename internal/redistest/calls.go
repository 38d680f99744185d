package redistest

import (
	"fmt"
	"strconv"
	"strings"
)

// Calls is how often each command was carried out since the server started (INFO
// commandstats), those inside of scripts included.
func (s *Server) Calls() (map[string]int64, error) {
	answer, err := s.Do("INFO", "commandstats")
	if err != nil {
		return nil, err
	}
	text, _ := answer.(string)
	all := make(map[string]int64)
	for l := range strings.Lines(text) {
		name, rest, ok := strings.Cut(strings.TrimPrefix(l, "cmdstat_"), ":calls=")
		if !ok {
			continue
		}
		calls, _, _ := strings.Cut(rest, ",")
		if all[name], err = strconv.ParseInt(calls, 10, 64); err != nil {
			return nil, fmt.Errorf("redistest: INFO commandstats: %q", l)
		}
	}
	return all, nil
}

// ScriptsRun is how many scripts clients have sent. It must be called by the
// goroutine of t.
func (s *Server) ScriptsRun(t TB) int {
	t.Helper()
	all, err := s.Calls()
	if err != nil {
		t.Fatalf("redistest: %v", err)
	}
	return int(all["evalsha"] + all["eval"])
}
