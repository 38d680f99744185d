package lockstep
type upstream struct{}
