package cli

import (
	"errors"
	"math"
	"strconv"
	"time"
)

// seconds is a duration as Go writes it (1m30s) or in plain seconds (0.5), which
// is how users of flock(1) type it.
type seconds struct {
	d     time.Duration
	given bool
}

var errDuration = errors.New("a duration is such as 30s, 1m30s or, in seconds, 0.5; not negative")

func (s *seconds) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) || f >= math.MaxInt64/1e9 {
			return errDuration
		}
		d = time.Duration(f * float64(time.Second))
	}
	if d < 0 {
		return errDuration
	}
	s.d, s.given = d, true
	return nil
}

func (s *seconds) Type() string { return "duration" }

func (s *seconds) String() string {
	if !s.given {
		return ""
	}
	return s.d.String()
}
