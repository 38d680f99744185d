package main

import (
	"errors"
	"sync"
)

// A crowd's processes count what they see, whatever they wait by.

// seenBy is the counts of all processes together.
func seenBy(all []*process) (sum counts, err error) {
	reports, err := askAll(all, order{Do: "count"})
	for _, r := range reports {
		sum = sum.plus(r.Seen)
	}
	return sum, err
}

// passing is those of one process that had their turn.
type passing struct {
	mu   sync.Mutex
	done int
	errs []error
}

func (p *passing) passed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	if err != nil {
		p.errs = append(p.errs, err)
	}
}

// seen is what the process reports.
func (p *passing) seen(c counts) (report, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.Done = p.done
	return report{Seen: c}, errors.Join(p.errs...)
}
