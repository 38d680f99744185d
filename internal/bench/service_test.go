package main

import (
	"testing"
	"time"
)

// toldServer has received so much at each look.
type toldServer struct {
	countingServer

	looks []tally
}

func (s *toldServer) received([]string) (tally, error) {
	t := s.looks[0]
	s.looks = s.looks[1:]
	return t, nil
}

func TestAnAuditIsOfAMomentWhenNoRenewalIsUnderWay(t *testing.T) {
	s := &toldServer{looks: []tally{{requests: 5}, {requests: 6}, {requests: 8}, {requests: 8}, {requests: 9, pings: 1}, {requests: 20}}}
	renewals := []int64{1, 1, 1, 2, 2, 3}
	seen := func() (c counts, err error) {
		c.Renewals, renewals = renewals[0], renewals[1:]
		return c, nil
	}
	a, err := audit(s, nil, seen, true)
	if err != nil {
		t.Fatal(err)
	}
	if want := (account{tally{requests: 9, pings: 1}, counts{Renewals: 2}}); a != want {
		t.Errorf("got %+v, want %+v: the first look at which nothing but a PING came since the one before", a, want)
	}
}

func TestWhatACrowdAsksBeyondItsRenewalsIsNeitherTheyNorPings(t *testing.T) {
	w := waitingCrowd{crowdOf: crowdOf{renewal: 4}}
	got := w.waiting(account{tally{requests: 90, pings: 20}, counts{Renewals: 15}}, 10*time.Second)
	if want := (crowdCost{waiting: 9, pings: 2, renewals: 6, beyond: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestWhatKeepsSessionsAliveIsNoPartOfAHandOff(t *testing.T) {
	for kind, want := range map[string]float64{ourLocker: 301, redsyncOnRueidis: 321} {
		w := waitingCrowd{kind: kind}
		if got := w.handedOver(321, 10, 2*time.Second); got != want {
			t.Errorf("%s: got %v, want %v", kind, got, want)
		}
	}
	w := waitingCrowd{kind: etcdMutex, crowdOf: crowdOf{pushed: true}}
	if got := w.handedOver(421, 10, 2*time.Second); got != 401 {
		t.Errorf("%s: got %v, want 401", etcdMutex, got)
	}
}

func TestJainsIndexIsOneWhereAllHaveTheSameShare(t *testing.T) {
	for want, shares := range map[float64][]int{1: {7, 7, 7, 7}, 0.25: {28, 0, 0, 0}, 0.5: {14, 14, 0, 0}} {
		if got := (&turns{shares: shares}).jain(); got != want {
			t.Errorf("the index of %v is %v, want %v", shares, got, want)
		}
	}
}
