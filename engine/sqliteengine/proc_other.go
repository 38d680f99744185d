//go:build !linux

package sqliteengine

func processState(int64) string { return "state not known" }
