package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/xds"
	"gatewright.dev/sdk/policy/v1alpha"
)

// apply takes an update through all stages: pending state to disk, chains built, clusters beside the old ones, routes,
// last good state to disk, report. Old chains and then old clusters go later. What is refused is set aside, and the
// last good version of its API stays.
func (n *Node) apply(ctx context.Context, update *nodev1.Update, patience time.Duration) {
	n.stats.updates.Add(1)
	n.later = without(n.later, update)
	p := planOf(n.running, update)
	outcome := newOutcome(update.GetRevision())
	n.settleUnchanged(p.unchanged, outcome)
	if len(p.changed)+len(p.removed) > 0 {
		if err := n.store.write(pendingFile, update); err != nil {
			n.refuseUnstored(update, p, err, outcome)
		} else {
			n.stage(ctx, p, patience, outcome)
		}
	}
	if ctx.Err() != nil {
		return // pending state stays: the engine was stopped in the middle
	}
	n.stats.revision.Store(update.GetRevision())
	n.finish(outcome)
}

// settleUnchanged reports what is served already. What no Envoy has taken yet is reported when one does.
func (n *Node) settleUnchanged(bundles []*nodev1.ApiBundle, outcome *outcome) {
	for _, bundle := range bundles {
		current := n.running[bundle.GetApi()]
		current.revision = outcome.revision
		if current.acknowledged {
			outcome.applied(bundle)
		} else {
			outcome.pending++
		}
	}
}

func (n *Node) refuseUnstored(update *nodev1.Update, p plan, cause error, outcome *outcome) {
	n.stats.stateErrors.Add(1)
	err := fmt.Errorf("the node cannot store its state, and tries again: %w", cause)
	for _, bundle := range p.changed {
		outcome.rejected(bundle, err)
	}
	for _, api := range p.removed {
		outcome.rejected(&nodev1.ApiBundle{Api: api}, err)
	}
	n.later = merge(n.later, update)
}

func (n *Node) stage(ctx context.Context, p plan, patience time.Duration, outcome *outcome) {
	candidates := n.build(p.changed, outcome)
	base := n.running.with(nil)
	for _, api := range p.removed {
		delete(base, api)
		delete(n.dormant, api)
	}
	settled := n.settle(ctx, base, n.running, candidates, patience)
	if ctx.Err() != nil {
		return
	}
	for _, api := range p.removed {
		n.replace(api, nil)
		outcome.removed(api)
	}
	n.take(settled, outcome)
}

// build parses bundles and builds their chains. Those it returns are held.
func (n *Node) build(bundles []*nodev1.ApiBundle, outcome *outcome) []*version {
	var candidates []*version
	var parsed []*nodev1.ApiBundle
	for _, message := range bundles {
		bundle, err := xds.ParseBundle(message)
		if err != nil {
			outcome.rejected(message, err)
			continue
		}
		parsed = append(parsed, message)
		candidates = append(candidates, &version{message: message, bundle: bundle, revision: outcome.revision})
	}
	errs := n.chains.hold(parsed)
	return slices.DeleteFunc(candidates, func(candidate *version) bool {
		err := errs[candidate.bundle.API]
		if err != nil {
			n.setAside(candidate.message, err, outcome)
		}
		return err != nil
	})
}

// setAside rejects a bundle; one whose reason may pass is tried again later.
func (n *Node) setAside(message *nodev1.ApiBundle, err error, outcome *outcome) {
	outcome.rejected(message, err)
	if mayPass(err) {
		n.later = merge(n.later, &nodev1.Update{Revision: outcome.revision, Bundles: []*nodev1.ApiBundle{message}})
	}
}

// mayPass reports whether another try may do better. What has crashed executors would only crash them again, and all
// other policies in them.
func mayPass(err error) bool {
	if errors.Is(err, xds.ErrNoAnswer) {
		return true
	}
	failure, ok := errors.AsType[*v1alpha.Failure](err)
	return ok && slices.Contains([]v1alpha.FailureClass{
		v1alpha.ClassUnavailable, v1alpha.ClassTimeout, v1alpha.ClassOverloaded,
	}, failure.Class)
}

// take makes what was settled the running state.
func (n *Node) take(settled settlement, outcome *outcome) {
	for _, candidate := range settled.accepted {
		candidate.acknowledged = true
		n.replace(candidate.bundle.API, candidate)
		outcome.applied(candidate.message)
	}
	for _, candidate := range settled.pending {
		if current := n.running[candidate.bundle.API]; current != nil {
			candidate.previous = current.lastGood()
		}
		n.replace(candidate.bundle.API, candidate)
		outcome.pending++
	}
	for _, refused := range settled.refused {
		n.chains.release(refused.candidate.message)
		n.setAside(refused.candidate.message, refused.err, outcome)
	}
}

// replace makes next (nil: nothing) what runs of an API, and retires the versions that this leaves behind.
func (n *Node) replace(api string, next *version) {
	current := n.running[api]
	if next == nil {
		delete(n.running, api)
	} else {
		n.running[api] = next
		delete(n.dormant, api)
	}
	if current == nil {
		return
	}
	for _, old := range []*version{current, current.previous} {
		if old != nil && old != next && (next == nil || old != next.previous) {
			n.retire(old)
		}
	}
}

// finish writes the last good state and reports.
func (n *Node) finish(outcome *outcome) {
	n.publish()
	n.save()
	if err := n.store.remove(pendingFile); err != nil {
		n.log.Error("cannot remove pending state", "error", err.Error())
	}
	n.report(outcome)
}

// save writes the last good state. If that fails the old file stays, and the next update tries again.
func (n *Node) save() {
	state := n.running.lastGood()
	for _, bundle := range n.dormant {
		state.Bundles = append(state.Bundles, bundle)
	}
	if err := n.store.write(lastGoodFile, state); err != nil {
		n.stats.stateErrors.Add(1)
		n.log.Error("cannot store the last good state: after a restart without controller the one before would come back",
			"directory", n.store.directory, "error", err.Error())
	}
}

// retryLater tries again what failed for a reason that may pass.
func (n *Node) retryLater(ctx context.Context) {
	if n.later != nil {
		n.apply(ctx, n.later, n.timing.Probe)
	}
}
