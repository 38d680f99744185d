package main

import (
	"errors"
	"fmt"

	"github.com/lockstep-go/lockstep/internal/redistest"
)

// redisServer is without persistence.
type redisServer struct {
	*redistest.Server
	hosting
}

func startRedis() (*redisServer, error) {
	s := &redisServer{}
	return s, s.host(func() int {
		s.Server = redistest.Start(s)
		return s.Pid()
	})
}

// received is what clients have sent that use these commands by themselves, and not
// only inside of scripts.
func (s *redisServer) received(sent []string) (t tally, err error) {
	all, err := s.Calls()
	for _, n := range all {
		t.commands += n
	}
	for _, name := range sent {
		t.requests += all[name]
	}
	t.pings = all["ping"]
	return t, err
}

// waits is when somebody has sent something but a PING.
func (s *redisServer) waits(holder *locker) (func() (bool, error), error) { return s.queue(holder, 1) }

func (s *redisServer) queue(holder *locker, n int) (func() (bool, error), error) {
	before, err := s.received(holder.requests)
	return func() (bool, error) {
		now, err := s.received(holder.requests)
		return now.minus(before).asked() >= int64(n), err
	}, err
}

// watches are the subscriptions for maps.
func (s *redisServer) watches() (float64, error) {
	answer, err := s.Do("PUBSUB", "CHANNELS", "lockstep:map:*")
	if err != nil {
		return 0, err
	}
	n := int64(0)
	channels, _ := answer.([]any)
	for _, c := range channels {
		answer, err := s.Do("PUBSUB", "NUMSUB", fmt.Sprint(c))
		if err != nil {
			return 0, err
		}
		pair, _ := answer.([]any)
		if len(pair) != 2 {
			return 0, fmt.Errorf("PUBSUB NUMSUB answers %v", answer)
		}
		here, _ := pair[1].(int64)
		n += here
	}
	if n == 0 {
		return 0, errors.New("the server knows of no watch: its channel has another name")
	}
	return float64(n), nil
}

func (s *redisServer) keep(name string) error {
	_, err := s.Do("PERSIST", name)
	return err
}

// clear: a peer that hangs leaves its lock, and an engine without the core its names.
func (s *redisServer) clear() error {
	_, err := s.Do("FLUSHALL")
	return err
}
