package sqliteengine

import "testing"

func TestParseLockFindsWhoHasTheFile(t *testing.T) {
	for line, want := range map[string]int64{
		"1: FLOCK  ADVISORY  WRITE 21199 fe:00:10002473 0 EOF":   21199,
		"1: FLOCK  ADVISORY  WRITE 21199 fe:00:110002473 0 EOF":  0, // another file's
		"2: -> FLOCK  ADVISORY  WRITE 7 fe:00:10002473 0 EOF":    0, // waits
		"1: POSIX  ADVISORY  WRITE 21199 fe:00:10002473 128 128": 0,
		"1: FLOCK  ADVISORY  READ 21199 fe:00:10002473 0 EOF":    0,
		"1: FLOCK  ADVISORY  WRITE 0 fe:00:10002473 0 EOF":       0, // of another PID namespace
		"1: OFDLCK ADVISORY  WRITE -1 fe:00:10002473 0 EOF":      0,
		"": 0,
	} {
		pid, ok := parseLock(line, 10002473)
		if !ok {
			pid = 0
		}
		if pid != want {
			t.Errorf("%q: process %d; want %d", line, pid, want)
		}
	}
}
