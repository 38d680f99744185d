package enginetest

import "testing"

// What package lockstep builds on the seam is written once; that it works here,
// whatever this engine's network does, is tested for each. One primitive is one
// area and one file, prim_….go. Checks are written with clients of the core on a
// network of their own (suite.coreClient); their names are rules, as in areas.

// RunPrimitives runs every check of package lockstep's primitives that applies to
// the engine: what everyone sees is the same whoever asks, and survives lost, late
// and repeated requests.
func RunPrimitives(t *testing.T, h Harness) { run(t, h, primitives) }

var primitives = []area{
	{"election", electionChecks},
	{"view", viewChecks},
	{"typed maps and values", typedChecks},
	{"group", groupChecks},
	{"counter", counterChecks},
	{"latch", latchChecks},
	{"once", onceChecks},
	{"ballot", ballotChecks},
	{"barrier", barrierChecks},
	{"ticks", ticksChecks},
}
