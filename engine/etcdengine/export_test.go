package etcdengine

import "time"

// SetStraggle has the suite withdraw for so long: it releases what never arrived.
func (e *Engine) SetStraggle(d time.Duration) { e.straggle = d }

// Asleep reports whether no Acquire of these sessions asks anything.
func Asleep(sessions []*Session) bool {
	for _, s := range sessions {
		if len(s.busy()) > 0 {
			return false
		}
	}
	return true
}
