package engine

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"slices"
)

// Level is how much a [Finding] matters. Levels compare.
type Level uint8

// The levels of findings.
const (
	LevelOK      Level = iota // looked at, and as it should be
	LevelNote                 // worth knowing, or what could not be looked at
	LevelWarning              // a fault that must be expected (a crash, a failover, a stall) costs more than it need
	LevelDanger               // two may hold one lock, or nobody can, though nothing is broken
)

var levels = [...]string{"ok", "note", "warning", "danger"}

// String is the level as users and JSON know it.
func (l Level) String() string {
	if int(l) < len(levels) {
		return levels[l]
	}
	return fmt.Sprintf("level %d", uint8(l))
}

// MarshalText makes JSON say the word.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

var _ encoding.TextMarshaler = LevelOK

// Finding is one thing that an examination looked at. No part of it ever shows a
// password, a value or a note of a user.
type Finding struct {
	Level Level
	What  string // what is so, in one line that stands alone
	Why   string // what it means for locks and maps; may be empty where it means nothing
	Fix   string // what to do about it; empty where there is nothing to do
}

// Doctor is implemented by engines that can say what makes their service unsafe.
// It examines how a service is set up and not what it holds.
type Doctor interface {
	// Examine looks at the service.
	//
	//  1. It changes nothing that anybody can see: no claim, entry or setting.
	//     What it has to write to try a permission is gone in the same step.
	//  2. It asks a bounded number of times, whatever the service holds.
	//  3. What it may not look at, or what this version does not know, is a
	//     finding of LevelNote that names it; the rest goes on.
	//  4. An error means that nothing could be learned: the service could not be
	//     reached, or ctx ended.
	//  5. Every thing that was looked at has a finding, those in order too;
	//     the worst come first.
	Examine(ctx context.Context) ([]Finding, error)
}

// DoctorDriver is implemented by drivers whose service can be examined also where
// Open refuses it: the reason for the refusal is then one of the findings.
type DoctorDriver interface {
	Driver
	// Examine reaches the service, examines it as [Doctor] says, and leaves it.
	Examine(ctx context.Context, t Target) ([]Finding, error)
}

// Examine examines the service that t names. Of an engine without an examination
// it says so, with what [Info] knows to be weaker: opening it has made the checks
// that it has.
func (ds Drivers) Examine(ctx context.Context, t Target) ([]Finding, error) {
	for _, d := range ds {
		if dd, ok := d.(DoctorDriver); ok && slices.Contains(d.Schemes(), t.Scheme) {
			return dd.Examine(ctx, t)
		}
	}
	e, err := ds.Open(ctx, t)
	if err != nil {
		return nil, err
	}
	findings, err := examine(ctx, e)
	return findings, errors.Join(err, e.Close())
}

func examine(ctx context.Context, e Engine) ([]Finding, error) {
	if d, ok := e.(Doctor); ok {
		return d.Examine(ctx)
	}
	findings := []Finding{{
		Level: LevelNote,
		What:  "this engine has no examination",
		Why:   "Opening it made the checks that it has, and it was opened.",
	}}
	for _, w := range e.Info().Weaker {
		findings = append(findings, Finding{Level: LevelNote, What: w})
	}
	return findings, nil
}
