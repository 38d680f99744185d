//go:build !linux

package sqliteengine

// checkFileSystem cannot tell local file systems apart here; Info.Weaker and
// docs/engines/file.md say so.
func checkFileSystem(string) error { return nil }
