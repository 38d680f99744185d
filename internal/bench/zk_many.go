package main

import (
	"fmt"
	"strconv"
	"strings"
)

// counted is the server as the rows of counted.go see it.
func (s *zkServer) counted() counted {
	return counted{
		url: s.url, peer: goZKLock, renewal: "one request each",
		received: func() (int64, error) { return int64(s.Packets()), nil },
		inLine:   s.inLine, watches: s.watches,
		watching: "of the map's node its children and its data, and of its one key",
	}
}

// inLine is how many claims there are: ephemeral nodes, two for each of ours and one
// for each session of ours.
func (s *zkServer) inLine() (int, error) {
	text, err := s.Word("dump")
	n := 0
	for line := range strings.Lines(text) {
		if strings.Contains(line, "/bench/lock/_c_") {
			n++
		}
	}
	return n, err
}

func (s *zkServer) watches() (float64, error) {
	text, err := s.Word("wchs")
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(text, "Total watches:")
	if !found {
		return 0, fmt.Errorf("wchs answers %q", text)
	}
	n, err := strconv.Atoi(strings.TrimSpace(rest))
	return float64(n), err
}
