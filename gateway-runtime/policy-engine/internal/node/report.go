package node

import (
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/controller"
)

// outcome collects the results of one update.
type outcome struct {
	revision uint64
	statuses []*nodev1.ApiStatus
	pending  int // bundles that no connected Envoy has decided on yet; reported later
}

func newOutcome(revision uint64) *outcome { return &outcome{revision: revision} }

func (o *outcome) applied(api, digest string) {
	o.add(api, digest, nodev1.ApiStatus_STATE_APPLIED, "")
}

func (o *outcome) removed(api string) {
	o.add(api, "", nodev1.ApiStatus_STATE_REMOVED, "")
}

func (o *outcome) add(api, digest string, state nodev1.ApiStatus_State, reason string) {
	o.statuses = append(o.statuses, &nodev1.ApiStatus{Api: api, Digest: digest, State: state, Reason: reason})
}

// outcomes are the outcomes by revision.
type outcomes map[uint64]*outcome

func (o outcomes) of(revision uint64) *outcome {
	if o[revision] == nil {
		o[revision] = newOutcome(revision)
	}
	return o[revision]
}

// reporter sends outcomes to the controller, and counts them.
type reporter struct {
	outbox            *controller.Outbox
	log               *slog.Logger
	applied, rejected atomic.Uint64 // APIs
}

// report logs the outcomes, counts them, and puts them into the outbox, by revision.
func (r *reporter) report(outcomes outcomes) {
	for _, revision := range slices.Sorted(maps.Keys(outcomes)) {
		outcome := outcomes[revision]
		for _, status := range outcome.statuses {
			switch status.GetState() {
			case nodev1.ApiStatus_STATE_REJECTED:
				r.rejected.Add(1)
				r.log.Error("API rejected", "api", status.GetApi(), "revision", revision, "reason", status.GetReason())
			case nodev1.ApiStatus_STATE_PENDING:
				r.log.Warn("API pending; it is retried", "api", status.GetApi(), "revision", revision, "reason", status.GetReason())
			default:
				r.applied.Add(1)
			}
		}
		r.log.Info("update processed", "revision", revision, "apis", len(outcome.statuses), "pending", outcome.pending)
		if outcome.pending > 0 && len(outcome.statuses) == 0 { // reported once Envoy decides
			continue
		}
		r.outbox.AddReport(&nodev1.Report{Revision: revision, Apis: outcome.statuses})
	}
}
