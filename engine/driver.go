package engine

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"sort"
	"strings"
)

// Target is a parsed engine URL. Params holds what an engine does not know as
// well, so that it can refuse it. Its String and its errors never show Password.
type Target struct {
	Scheme, User, Password, Path string
	Hosts                        []string
	Params                       map[string]string
}

// String is the target as a URL, with its user and without its password and
// parameters.
func (t Target) String() string {
	s := t.Scheme + ":"
	if t.User != "" || len(t.Hosts) > 0 {
		s += "//"
		if t.User != "" {
			s += url.PathEscape(t.User) + "@"
		}
		s += strings.Join(t.Hosts, ",")
	} else if strings.HasPrefix(t.Path, "/") {
		s += "//"
	}
	return s + (&url.URL{Path: t.Path}).EscapedPath()
}

// CheckParams refuses every parameter but those known, and lists these.
func (t Target) CheckParams(known ...string) error {
	var unknown []string
	for p := range t.Params {
		if !slices.Contains(known, p) {
			unknown = append(unknown, p)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	sort.Strings(unknown)
	sort.Strings(known)
	takes := "takes none"
	if len(known) > 0 {
		takes = "takes " + strings.Join(known, ", ")
	}
	return fmt.Errorf("%w: unknown parameter %s: %s: %s", ErrInvalid, strings.Join(unknown, ", "), t.Scheme, takes)
}

// Driver opens the engines of some URL schemes.
type Driver interface {
	Schemes() []string
	// Open makes one round trip, so that a bad password or an unusable
	// directory fails here. ErrInvalid: the target is wrong, and why.
	Open(ctx context.Context, t Target) (Engine, error)
}

// Drivers is several drivers in one; the first that takes a scheme opens it.
type Drivers []Driver

// Schemes are those of all its drivers, in order.
func (ds Drivers) Schemes() []string {
	var all []string
	for _, d := range ds {
		all = append(all, d.Schemes()...)
	}
	return all
}

// Open hands the target to the first driver that takes its scheme.
func (ds Drivers) Open(ctx context.Context, t Target) (Engine, error) {
	for _, d := range ds {
		if slices.Contains(d.Schemes(), t.Scheme) {
			return d.Open(ctx, t)
		}
	}
	return nil, fmt.Errorf("%w: no engine for %q here: known are %s", ErrInvalid, t.Scheme+":", strings.Join(ds.Schemes(), ", "))
}
