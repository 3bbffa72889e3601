package rotation_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"gatewright.dev/policy-engine/internal/backoff"
	"gatewright.dev/policy-engine/internal/node/rotation"
)

var (
	begin   = time.Unix(1000, 0)
	a, b    = rotation.Version{API: "a", Version: "v1"}, rotation.Version{API: "b", Version: "v1"}
	errAway = errors.New("no route to host")
)

func newSchedule() *rotation.Schedule {
	return rotation.NewSchedule(backoff.Doubling{First: time.Second, Longest: 4 * time.Second})
}

func expectDue(t *testing.T, s *rotation.Schedule, now time.Time, want ...rotation.Version) {
	t.Helper()
	if got := s.Due(now); !slices.Equal(got, want) {
		t.Errorf("expected %v to be due, got %v", want, got)
	}
}

func TestAVersionIsDueUntilItIsDroppedOrBuilt(t *testing.T) {
	s := newSchedule()
	s.Add(b, a, b)
	expectDue(t, s, begin, a, b)
	s.Begin(a)
	s.Drop(b)
	expectDue(t, s, begin)
	if got := s.End(a, nil, begin); got != (rotation.Result{Done: true}) {
		t.Errorf("got %+v", got)
	}
	expectDue(t, s, begin, a) // to be checked once more
}

func TestAFailedRotationIsRetriedAndReportedOnce(t *testing.T) {
	s := newSchedule()
	s.AddMoved(a)
	now := begin
	for try, wait := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 4 * time.Second} {
		s.Begin(a)
		got := s.End(a, errAway, now)
		if news := got.Reason != ""; news != (try == 0) || !got.Moved || got.Done {
			t.Errorf("try %d: got %+v", try, got)
		}
		expectDue(t, s, now.Add(wait-1))
		now = now.Add(wait)
		expectDue(t, s, now, a)
	}
	if s.Failing() != 1 {
		t.Errorf("expected one version to fail, got %d", s.Failing())
	}
	s.Begin(a)
	if got := s.End(a, nil, now); got != (rotation.Result{Done: true, Moved: true}) || s.Failing() != 0 {
		t.Errorf("got %+v, %d fail", got, s.Failing())
	}
	s.Begin(a)
	if got := s.End(a, nil, now); got.Moved {
		t.Error("expected the move to be done")
	}
}

func TestAFailureIsNoNewsIfMoreHasChangedSince(t *testing.T) {
	s := newSchedule()
	s.Add(a)
	s.Begin(a)
	s.Add(a)
	expectDue(t, s, begin)
	if got := s.End(a, errAway, begin); got != (rotation.Result{}) || s.Failing() != 0 {
		t.Errorf("got %+v, %d fail", got, s.Failing())
	}
	expectDue(t, s, begin, a)
}
