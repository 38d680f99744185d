package etcdengine

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lockstep-go/lockstep/engine"
)

// frames are what a client sends by HTTP/2, by their types, through a proxy.
type frames struct {
	addr   string
	counts [256]atomic.Int64
	conns  sync.WaitGroup
}

const framePing = 6

func countFrames(t *testing.T, server string) *frames {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &frames{addr: l.Addr().String()}
	f.conns.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			f.conns.Go(func() { f.pass(client, server) })
		}
	})
	t.Cleanup(func() { l.Close(); f.conns.Wait() })
	return f
}

// pass hands everything on. What a client answers is not counted.
func (f *frames) pass(client net.Conn, server string) {
	defer client.Close()
	s, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer s.Close()
	f.conns.Go(func() { defer client.Close(); _, _ = io.Copy(client, s) })
	from := bufio.NewReader(client)
	const preface = 24
	if _, err := io.CopyN(s, from, preface); err != nil {
		return
	}
	for {
		head, err := from.Peek(9)
		if err != nil {
			return
		}
		length := int64(binary.BigEndian.Uint32(head) >> 8)
		if ack := head[4]&1 != 0; head[3] != framePing || !ack {
			f.counts[head[3]].Add(1)
		}
		if _, err := io.CopyN(s, from, int64(len(head))+length); err != nil {
			return
		}
	}
}

// grpc works out how much may be on its way by a ping for each reply, unless it is told.
func TestAReplyIsAnsweredByNoPing(t *testing.T) {
	t.Parallel()
	f := countFrames(t, start(t).Addr)
	e := openOn(t, []string{f.addr}, nil)
	c := begin(t, e, engine.SessionOptions{})
	before := f.counts[framePing].Load()
	for range 50 {
		claim := mutex("n")
		c.take(claim)
		c.give(claim)
	}
	if n := f.counts[framePing].Load() - before; n > 5 { // it may ask whether a silent server lives
		t.Errorf("50 locks sent %d pings", n)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
