package node

import (
	"slices"
	"testing"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/controller"
)

func TestOutcomesAreReportedByRevisionOnceEnvoyHasDecided(t *testing.T) {
	r := &reporter{outbox: controller.NewOutbox(), log: quiet}
	outcomes := outcomes{}
	outcomes.of(3).add("b", "1", nodev1.ApiStatus_STATE_REJECTED, "a mistake")
	outcomes.of(2).applied("a", "1")
	outcomes.of(2).removed("gone")
	outcomes.of(2).pending++
	outcomes.of(4).pending++
	outcomes.of(1).add("c", "1", nodev1.ApiStatus_STATE_PENDING, "no route to host")
	outcomes.of(5)
	r.report(outcomes)
	var revisions []uint64
	for _, message := range r.outbox.Drain() {
		revisions = append(revisions, message.GetReport().GetRevision())
	}
	if want := []uint64{1, 2, 3, 5}; !slices.Equal(revisions, want) {
		t.Errorf("expected reports of %v, but not of what no Envoy has decided on, got %v", want, revisions)
	}
	if r.applied.Load() != 2 || r.rejected.Load() != 1 {
		t.Errorf("expected two applied and one rejected, got %d and %d", r.applied.Load(), r.rejected.Load())
	}
}
