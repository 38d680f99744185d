//go:build !linux

package sqliteengine

import (
	"os"
	"time"
)

// queue has no memory to share here: who waits at the gate looks again and again.
type queue struct{}

func openQueue(*os.File) (*queue, error) { return &queue{}, nil }

func (*queue) close() error              { return nil }
func (*queue) forWoken() bool            { return false }
func (*queue) join()                     {}
func (*queue) part()                     {}
func (*queue) ticket() uint32            { return 0 }
func (*queue) entered()                  {}
func (*queue) leaving() (waitedFor bool) { return false }
func (*queue) leave()                    {}

func (*queue) sleep(_ uint32, atMost time.Duration) { time.Sleep(min(atMost, 100*time.Microsecond)) }
