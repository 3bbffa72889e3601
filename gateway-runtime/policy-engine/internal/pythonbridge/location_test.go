package pythonbridge

import (
	"context"
	"errors"
	"testing"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/sdk/policy/v1alpha"
)

// TestALocationIsReportedOnce, to a reader that waits for it or that asks afterwards; an unknown one is ignored.
func TestALocationIsReportedOnce(t *testing.T) {
	waiting := locations{}
	before, after := waiting.add(1), waiting.add(2)
	files := make(chan string, 2)
	notify := func(file string, _ int) { files <- file }
	before.Located(notify)
	waiting.accept([]*executorv1.Located{{Id: 1, File: "one.py", Line: 1}, {Id: 2, File: "two.py", Line: 2}, {Id: 3, File: "three.py"}})
	if got := await.Receive(t, files, "the first location"); got != "one.py" {
		t.Errorf("got %s", got)
	}
	after.Located(notify)
	if got := await.Receive(t, files, "the second location"); got != "two.py" || len(waiting) != 0 {
		t.Errorf("got %s, and %d wait", got, len(waiting))
	}
}

// TestLocationsAreBounded, since a process may never send any.
func TestLocationsAreBounded(t *testing.T) {
	waiting := locations{}
	for id := range uint64(maxLocations) {
		if waiting.add(id) == nil {
			t.Fatalf("expected room for %d, got none after %d", maxLocations, id)
		}
	}
	if waiting.add(maxLocations) != nil {
		t.Error("expected no room for one more")
	}
}

// TestATimeoutHasItsLocationAsCause and is otherwise like any other timeout.
func TestATimeoutHasItsLocationAsCause(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	e := &execution{location: &location{}}
	err := e.contextFailure(ctx, true)
	failure := v1alpha.AsFailure(err)
	if _, ok := errors.AsType[*location](failure.Cause); !ok || failure.Class != v1alpha.ClassTimeout || !failure.Logged || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %+v of %v", failure, err)
	}
	if failTimeoutLogged.Cause != nil {
		t.Error("expected the shared failure as it was")
	}
}
