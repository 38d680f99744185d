package main

import (
	"context"
	"errors"
	"time"

	"github.com/redis/rueidis"
)

// The bare message: nothing is handed over faster by a Redis.

const (
	publishMessage = "publish → message"

	benchChannel = "bench"
)

type publisher struct {
	always

	client rueidis.Client
}

func newPublisher(url string) (giver, error) {
	c, err := newRueidis(hostsOf(url)[0])
	return publisher{client: c}, err
}

func (p publisher) close() error { p.client.Close(); return nil }
func (p publisher) give() error {
	return p.client.Do(context.Background(), p.client.B().Publish().Channel(benchChannel).Message("go").Build()).Error()
}

func newListener(url string) (worker, error) {
	c, err := newRueidis(hostsOf(url)[0])
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	up, told, ended := make(chan struct{}, 1), make(chan int64, 1), make(chan error, 1)
	go func() {
		hooked := rueidis.WithOnSubscriptionHook(ctx, func(rueidis.PubSubSubscription) { up <- struct{}{} })
		ended <- c.Receive(hooked, c.B().Subscribe().Channel(benchChannel).Build(), func(rueidis.PubSubMessage) { told <- monotonic() })
	}()
	end := func() error {
		stop()
		<-ended //nolint:errcheck // it ends because it was stopped
		c.Close()
		return nil
	}
	select {
	case <-up:
	case <-time.After(10 * time.Second):
		return nil, errors.Join(errors.New("no subscription within 10 s"), end())
	}
	return waiterRole{func() (int64, error) { return <-told, nil }, end}, nil
}
