// Package rotation schedules the replacement of chains whose secrets have changed, or whose policies have moved to another executor
// group. Chains keep their ids, so Envoy is not involved: new instances are built, a chain of them replaces the old one, and that is
// closed after its last exchange.
//
// A schedule builds and replaces nothing: its owner checks and builds what is due, and tells the schedule how that ended.
package rotation

import (
	"cmp"
	"slices"
	"time"

	"gatewright.dev/policy-engine/internal/backoff"
)

// Version identifies the chains of one version of an API. Their instances are built together.
type Version struct{ API, Version, Context string }

// Schedule holds the versions whose chains have changed, or may have. One goroutine calls its methods.
type Schedule struct {
	entries map[Version]*entry
	retry   backoff.Doubling
}

type entry struct {
	building bool
	moved    bool // a policy has moved
	again    bool // more has changed since the build began
	tries    int  // failed tries
	retryAt  time.Time
	reason   string // why the last try failed, as it was logged
}

// NewSchedule makes an empty schedule.
func NewSchedule(retry backoff.Doubling) *Schedule {
	return &Schedule{entries: map[Version]*entry{}, retry: retry}
}

// Add makes versions due, since a secret has changed or may have.
func (s *Schedule) Add(versions ...Version) {
	for _, version := range versions {
		s.add(version)
	}
}

// AddMoved makes versions due, since a policy of theirs has moved.
func (s *Schedule) AddMoved(versions ...Version) {
	for _, version := range versions {
		s.add(version).moved = true
	}
}

func (s *Schedule) add(version Version) *entry {
	e := s.entries[version]
	if e == nil {
		e = &entry{}
		s.entries[version] = e
	}
	e.again, e.tries, e.retryAt = e.building, 0, time.Time{}
	return e
}

// Due returns the versions to check now, sorted: those of which no build is under way, and that do not wait for a retry. Each is
// to be followed by Begin or Drop.
func (s *Schedule) Due(now time.Time) (due []Version) {
	for version, e := range s.entries {
		if !e.building && !now.Before(e.retryAt) {
			due = append(due, version)
		}
	}
	slices.SortFunc(due, func(a, b Version) int {
		return cmp.Or(cmp.Compare(a.API, b.API), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Context, b.Context))
	})
	return due
}

// Begin notes that a version's instances are being built.
func (s *Schedule) Begin(version Version) {
	e := s.entries[version]
	e.building, e.again = true, false
}

// Drop forgets a version of which nothing has changed.
func (s *Schedule) Drop(version Version) { delete(s.entries, version) }

// Result is how a rotation ended.
type Result struct {
	Done   bool   // the chains are replaced
	Moved  bool   // a policy had moved; otherwise a secret had changed
	Reason string // why the chains are not replaced; "" also where that is the same as before, or more has changed since
}

// End notes that a build of a version is done; err: its chains could not be replaced. Meanwhile its chains go on with the earlier
// secrets, and it is due again after a back-off.
func (s *Schedule) End(version Version, err error, now time.Time) Result {
	e := s.entries[version]
	e.building = false
	result := Result{Done: err == nil, Moved: e.moved}
	switch {
	case err == nil:
		e.reason, e.tries, e.moved = "", 0, false
	case !e.again:
		e.retryAt = now.Add(s.retry.Wait(e.tries))
		e.tries++
		if reason := err.Error(); reason != e.reason {
			e.reason, result.Reason = reason, reason
		}
	}
	return result
}

// Failing counts the versions whose last try has failed.
func (s *Schedule) Failing() int {
	failing := 0
	for _, e := range s.entries {
		if e.reason != "" {
			failing++
		}
	}
	return failing
}
