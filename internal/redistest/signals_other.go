//go:build !unix

package redistest

import "syscall"

// No redis-server runs there; these only let the package build.
const terminate, pause, resume = syscall.SIGTERM, syscall.SIGTERM, syscall.SIGTERM
