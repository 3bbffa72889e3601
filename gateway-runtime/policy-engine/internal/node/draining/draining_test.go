package draining_test

import (
	"testing"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/draining"
)

const (
	unsupported = nodev1.DrainState_DRAIN_STATE_UNSPECIFIED
	serving     = nodev1.DrainState_DRAIN_STATE_SERVING
	drains      = nodev1.DrainState_DRAIN_STATE_DRAINING
	drained     = nodev1.DrainState_DRAIN_STATE_DRAINED
)

// bench is a state, and the number of its changes.
type bench struct {
	*testing.T
	*draining.State
	changes int
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{T: t}
	b.State = draining.New(func() { b.changes++ })
	return b
}

// expect checks what a hello says, whether the node is ready, and how often it had to say hello again.
func (b *bench) expect(step string, hello nodev1.DrainState, ready bool, changes int) {
	b.Helper()
	if got := b.Hello(); got != hello || (b.Obstacle() == "") != ready || b.changes != changes {
		b.Errorf("%s: expected %v, ready %t, %d changes, got %v, %q, %d", step, hello, ready, changes, got, b.Obstacle(), b.changes)
	}
}

func TestANodeThatStopsIsNotReady(t *testing.T) {
	b := newBench(t)
	b.Report(draining.Serving)
	if wish := b.Report(draining.Stopping); wish.Drained {
		t.Errorf("expected no drain, got %v", wish)
	}
	b.expect("it stops", drains, false, 2)
}

func TestAnEngineThatStartsWhileListenersOpenKeepsNoDrain(t *testing.T) {
	b := newBench(t)
	if wish := b.Report(draining.Opening); wish.Drained {
		t.Errorf("expected no drain, got %v", wish)
	}
	b.expect("its listeners open", drains, false, 1)
	b.Report(draining.Serving)
	b.expect("it serves", serving, true, 2)
}

func TestANodeIsNotReadyFromTheWishUntilItServesAgain(t *testing.T) {
	b := newBench(t)
	b.expect("without a supervisor", unsupported, true, 0)
	if wish := b.Report(draining.Serving); wish.Drained {
		t.Errorf("expected no drain, got %v", wish)
	}
	b.Report(draining.Serving)
	b.expect("it serves", serving, true, 1)
	b.Want(&nodev1.Drain{Drained: true, AcceptSeconds: 3})
	b.expect("before the supervisor knows it", drains, false, 2)
	if wish := b.Report(draining.Serving); !wish.Drained || wish.AcceptSeconds != 3 {
		t.Errorf("expected a drain with 3 s, got %v", wish)
	}
	b.Report(draining.Draining)
	b.expect("the listeners close", drains, false, 2)
	b.Report(draining.Drained)
	b.expect("all is done", drained, false, 3)
	b.Want(&nodev1.Drain{})
	b.expect("it is to serve again", drains, false, 4)
	if wish := b.Report(draining.Drained); wish.Drained {
		t.Errorf("expected the end of the drain, got %v", wish)
	}
	b.Report(draining.Serving)
	b.expect("it serves again", serving, true, 5)
}

func TestAnEngineThatIsStartedAgainGoesOnWithTheDrain(t *testing.T) {
	b := newBench(t)
	if wish := b.Report(draining.Drained); !wish.Drained {
		t.Errorf("expected the drain to go on, got %v", wish)
	}
	b.expect("after the first report", drained, false, 1)
	b.Want(&nodev1.Drain{})
	if wish := b.Report(draining.Drained); wish.Drained {
		t.Errorf("expected the controller's newest wish, got %v", wish)
	}
}

func TestAWishThatComesBeforeTheFirstReportCounts(t *testing.T) {
	b := newBench(t)
	b.Want(&nodev1.Drain{})
	if wish := b.Report(draining.Drained); wish.Drained {
		t.Errorf("expected the controller's wish, got %v", wish)
	}
}
