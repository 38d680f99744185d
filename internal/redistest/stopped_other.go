//go:build !linux

package redistest

// stopped: elsewhere the signal is believed to have worked at once.
func stopped(int) bool { return true }
