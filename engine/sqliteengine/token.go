package sqliteengine

import "time"

// A token is epoch<<epochShift | count: one counter for the whole store, raised
// in the transaction that makes the grant (S2).
//
// Grants are committed without waiting for the disk, so a power cut can take the
// last of them back. The epoch is committed durably, and grows with every boot:
// what was granted before the cut stays smaller. Within an epoch the count begins
// at the microseconds of the hour, and the epoch is at least the hours since 1970,
// so that even a directory that somebody deleted begins above its old tokens as
// far as the wall clock moved on (nobody makes a million grants a second).
const epochShift = 40

// nextEpoch is the token after which a new boot goes on.
func nextEpoch(last int64, wall time.Time) int64 {
	const hour = int64(time.Hour / time.Microsecond)
	now := max(wall.UnixMicro(), 0)
	return max(last>>epochShift+1, now/hour)<<epochShift | now%hour
}
