package faultnet

import (
	"io"
	"slices"
	"time"
)

// aside sends a straggler on a connection of its own and returns the replies to
// it when all have come. The network's condition does not matter: it is past it.
func (p *Proxy) aside(s straggler) ([]string, error) {
	conn, err := p.dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(slices.Concat(slices.Concat(s.setup, s.requests)...)); err != nil {
		return nil, err
	}
	skip, want := p.repliesTo(s.setup), p.repliesTo(s.requests)
	replies, err := p.replies(conn, skip+want)
	return replies[min(skip, len(replies)):], err
}

func (p *Proxy) repliesTo(requests [][]byte) int {
	n := 0
	for _, r := range requests {
		if !p.proto.silent(r) {
			n++
		}
	}
	return n
}

func (p *Proxy) replies(conn io.Reader, want int) ([]string, error) {
	var replies []string
	var pending []byte
	buf := make([]byte, 64<<10)
	for len(replies) < want {
		n, err := conn.Read(buf)
		pending = append(pending, buf[:n]...)
		for size := p.proto.reply(pending); size > 0; size = p.proto.reply(pending) {
			if !p.proto.message(pending[:size], false) {
				replies = append(replies, string(pending[:size]))
			}
			pending = pending[size:]
		}
		if err != nil && len(replies) < want {
			return replies, err
		}
	}
	return replies, nil
}
