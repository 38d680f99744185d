// Command lockstep runs a command while holding a lock, and shows and changes what
// programs agree on with package lockstep. See docs/command.md.
package main

import (
	"os"

	"github.com/lockstep-go/lockstep/cmd/lockstep/internal/cli"
	"github.com/lockstep-go/lockstep/cmd/lockstep/internal/demo"
	"github.com/lockstep-go/lockstep/cmd/lockstep/internal/guard"
)

func main() {
	// These two are this executable in another part, started by itself.
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case guard.Hidden:
			os.Exit(guard.Main(os.Args[2:]))
		case demo.Hidden:
			os.Exit(demo.Worker(os.Args[2:]))
		}
	}
	os.Exit(cli.Main(os.Args[1:]))
}
