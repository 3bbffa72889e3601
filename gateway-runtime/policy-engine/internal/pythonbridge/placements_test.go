package pythonbridge

import (
	"slices"
	"testing"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/sdk/policy/v1alpha"
)

var noMemory = v1alpha.Failf(v1alpha.ClassException, "no memory")

// configured returns the numbers that the next frame configures and closes.
func configured(ps *placements) (numbers, closed []uint32) {
	frame := &executorv1.RequestFrame{}
	ps.fillFrame(frame)
	for _, configure := range frame.Configure {
		numbers = append(numbers, configure.Instance)
	}
	return numbers, frame.Close
}

func wantConfigured(t *testing.T, ps *placements, wantNumbers, wantClosed []uint32) {
	t.Helper()
	if numbers, closed := configured(ps); !slices.Equal(numbers, wantNumbers) || !slices.Equal(closed, wantClosed) {
		t.Fatalf("expected %v configured and %v closed, got %v and %v", wantNumbers, wantClosed, numbers, closed)
	}
}

func TestEachStreamNumbersItsInstancesAnew(t *testing.T) {
	ps, first, second := newPlacements(), loosePlacement(stateWaiting), loosePlacement(stateWaiting)
	ps.add(first)
	ps.add(second)
	wantConfigured(t, &ps, nil, nil) // no stream yet
	ps.numberAll()
	wantConfigured(t, &ps, []uint32{1, 2}, nil)
	wantConfigured(t, &ps, nil, nil)
	first.markReady()
	ps.reset()
	if len(ps.byNumber) != 0 || first.is(stateReady) {
		t.Fatal("expected nothing of the old stream to be left")
	}
	ps.numberAll()
	wantConfigured(t, &ps, []uint32{3, 4}, nil)
}

func TestOnlyConfiguredInstancesAreClosed(t *testing.T) {
	ps, sent, unsent := newPlacements(), loosePlacement(stateWaiting), loosePlacement(stateWaiting)
	ps.add(sent)
	ps.numberAll()
	wantConfigured(t, &ps, []uint32{1}, nil)
	ps.add(unsent)
	ps.number(unsent)
	if a, b, again := ps.remove(sent), ps.remove(unsent), ps.remove(sent); !a || b || again {
		t.Fatalf("expected only the first to be sent to the process, once, got %v, %v, %v", a, b, again)
	}
	wantConfigured(t, &ps, nil, []uint32{1})
	if len(ps.live) != 0 || !sent.is(stateClosed) || !unsent.is(stateClosed) {
		t.Fatal("expected both to be closed")
	}
}

func TestAFailedInstanceIsConfiguredAgainWhenItIsTime(t *testing.T) {
	ps, p, now := newPlacements(), loosePlacement(stateWaiting), time.Unix(0, 0)
	ps.add(p)
	ps.numberAll()
	wantConfigured(t, &ps, []uint32{1}, nil)
	p.markFailed(noMemory, now.Add(time.Second))
	if ps.renumberFailed(now.Add(time.Second), time.Minute) {
		t.Fatal("expected no new try before its time")
	}
	if !ps.renumberFailed(now.Add(2*time.Second), time.Minute) {
		t.Fatal("expected a new try")
	}
	wantConfigured(t, &ps, []uint32{2}, []uint32{1})
	if !p.is(stateFailed) || p.failure == nil { // executions get this failure until it is ready
		t.Fatal("expected it to stay failed while it is tried again")
	}
	if ps.renumberFailed(now.Add(30*time.Second), time.Minute) || !ps.renumberFailed(now.Add(63*time.Second), time.Minute) {
		t.Fatal("expected the try to be given a minute")
	}
	if p.markReady(); p.tries != 0 || p.failure != nil || !p.is(stateReady) {
		t.Fatalf("expected it to be ready, got %+v", p.failure)
	}
}

func TestLostStreamsCountAgainstUnansweredInstances(t *testing.T) {
	ps, asked, ready, waiting := newPlacements(), loosePlacement(stateConfigured), loosePlacement(stateReady), loosePlacement(stateWaiting)
	ready.answered = true
	for _, p := range []*placement{asked, ready, waiting} {
		ps.add(p)
	}
	if ps.reset(); asked.streamsLost != 1 || ready.streamsLost != 0 || waiting.streamsLost != 0 {
		t.Fatalf("expected the first alone to be suspicious, got %d, %d, %d", asked.streamsLost, ready.streamsLost, waiting.streamsLost)
	}
}

func TestProgressCountsEachInstanceOnce(t *testing.T) {
	ps := newPlacements()
	for _, state := range []placementState{stateReady, stateReady, stateConfigured, stateWaiting} {
		ps.add(loosePlacement(state))
	}
	failed := loosePlacement(stateWaiting)
	failed.markFailed(noMemory, time.Unix(0, 0))
	ps.add(failed)
	slow := newInstance(&executorv1.ConfigureInstance{PrepareTimeoutMs: 5000})
	ps.add(&placement{instance: slow})
	at := ps.progress(time.Second)
	if at.live != 6 || at.ready != 3 || at.pending() != 2 || at.failed[failed.instance] != noMemory || at.limit != 6*time.Second {
		t.Fatalf("expected 3 of 6 ready, 2 pending, 1 failed and 6 s, got %+v and %d pending", at, at.pending())
	}
}
