package zkengine

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"
	"time"
)

// TestWhatComesTogetherIsReadInPieces: the connect reply, and two answers with it.
func TestWhatComesTogetherIsReadInPieces(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	defer near.Close()
	tap := NewTap(nil)
	c := &tapConn{Conn: near, tap: tap, sent: time.Now()}
	sent := append(connected(7), bytes.Repeat([]byte("answer"), readAhead)...)
	go func() {
		_, _ = far.Write(sent)
		_ = far.Close()
	}()
	var got []byte
	for b := make([]byte, 5); ; {
		n, err := c.Read(b)
		got = append(got, b[:n]...)
		if err != nil {
			break
		}
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("%d bytes were read, want the %d that were sent", len(got), len(sent))
	}
	if _, l := tap.now(); l != nil {
		t.Error("a connection that has ended is there")
	}
	if z, _ := tap.now(); z == nil || z.id != 7 {
		t.Errorf("the session is %+v, want 7", z)
	}
}

// connected is a connect reply.
func connected(session uint64) []byte {
	b := binary.BigEndian.AppendUint32(nil, 0) // protocol version
	b = binary.BigEndian.AppendUint32(b, 10_000)
	b = binary.BigEndian.AppendUint64(b, session)
	b = append(binary.BigEndian.AppendUint32(b, 16), make([]byte, 17)...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}
