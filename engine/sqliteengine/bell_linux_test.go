package sqliteengine

import "testing"

// Nobody waits in the engine that it belongs to: the pipe fills up.
func TestBellThatNobodyHearsMayBeRungForEver(t *testing.T) {
	e, other := open(t, t.TempDir()), open(t, t.TempDir())
	other.ropes.dir = e.dir
	for range 1<<16 + 10 { // a pipe takes 64 KiB
		if err := other.ropes.pull(e.bell); err != nil {
			t.Fatal(err)
		}
	}
}

// SIGPIPE would end a program that is not Go's.
func TestBellOfAnEngineThatClosedMayBeRungOn(t *testing.T) {
	dir := t.TempDir()
	e, other := open(t, dir), open(t, dir)
	for range 2 {
		if err := other.ropes.pull(e.bell); err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
