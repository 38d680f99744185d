//go:build unix

package guard

import (
	"os"
	"testing"
)

// A guardian that is stopped reads nothing, and the command has other things to do.
func TestOrdersAreSentAtOnceOrNotAtAll(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	r := &run{c: Child{Say: func(s string) { t.Error(s) }}, orders: write}
	for range 10_000 { // many times what a pipe takes
		r.order(order{Op: opLost})
	}
	var in inbox
	buf := make([]byte, 4096)
	n, err := read.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	in.add(buf[:n])
	var first order
	if ok, err := in.next(&first); !ok || err != nil || first.Op != opLost {
		t.Errorf("the guardian reads %+v, %v, %v", first, ok, err)
	}
}
