package vote

import "time"

// coreDrift is what the core's own margin takes off every trust window for clocks
// that do not run alike (S1).
const coreDrift = 0.01

// Drift is by how much a grant for life is shortened for clocks that do not run
// alike, beyond what the core takes off: factor is a part of life.
func Drift(life time.Duration, factor float64) time.Duration {
	return time.Duration(float64(life) * max(0, factor-coreDrift))
}

// Valid says whether a grant for life that was first asked for so long ago is worth
// having: the core's margin must be left of it.
func Valid(life, elapsed time.Duration, factor float64) bool {
	margin := life/100 + 25*time.Millisecond
	return elapsed < life-margin-Drift(life, factor)
}
