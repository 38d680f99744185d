package sqliteengine

import "io/fs"

// shared: permissions of Windows are not in the mode. The user's profile, where
// the default directory is, is private by itself.
func shared(fs.FileInfo) string { return "" }

// syncDir: Windows has no such thing.
func syncDir(string) error { return nil }
