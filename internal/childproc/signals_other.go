//go:build !unix

package childproc

import "syscall"

// No server of a test runs there; these only let the package build.
const terminate, pause, resume = syscall.SIGTERM, syscall.SIGTERM, syscall.SIGTERM
