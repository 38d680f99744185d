package sqliteengine

import (
	"runtime"
	"slices"

	"github.com/lockstep-go/lockstep/engine"
)

// Info is what this engine can do.
func (e *Engine) Info() engine.Info {
	return engine.Info{
		Engine:      "file",
		FIFO:        true,
		Store:       true,
		EveryChange: true,
		Kinds:       []engine.Kind{engine.Mutex, engine.ReadWrite, engine.Semaphore, engine.Election, engine.Group},
		FixedTerm:   true,
		Pass:        true,
		TokenOrder:  "engine",
		MaxValue:    maxValue,
		Weaker:      slices.Clone(weaker[runtime.GOOS]),
	}
}

// weaker is what does not hold everywhere, by operating system.
var weaker = map[string][]string{
	"linux": nil,
	"darwin": {
		"The kind of file system is not checked: on a network file system locks may not exclude.",
	},
	"windows": {
		"The kind of file system is not checked: on a network file system locks may not exclude.",
		"A session cannot be kept alive by another process: a killed command's child is not waited for.",
		"Who may read the directory is not checked.",
		"Boots are told apart by a count that Windows keeps, which a fast start-up does not raise.",
	},
}

// Store is the maps of the directory.
func (e *Engine) Store() engine.Store { return store{e} }
