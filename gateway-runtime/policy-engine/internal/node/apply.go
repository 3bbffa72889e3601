package node

import (
	"cmp"
	"context"
	"fmt"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/controller"
	"gatewright.dev/policy-engine/internal/node/statedir"
	"gatewright.dev/policy-engine/internal/node/transient"
)

// apply takes an update through all stages: its Gateway, chains built, pending state to disk, clusters beside the old ones, routes,
// last good state to disk, report. Old chains and then old clusters go later. A bundle that is refused is rejected, and the last
// good version of its API stays. A build that takes long does not delay the others: its API follows when it is built.
func (n *Node) apply(ctx context.Context, packed *controller.PackedUpdate, envoyTimeout time.Duration) {
	update := packed.Update
	n.updateSnapshot(func(s *snapshot) { s.updates++ })
	n.followController()
	n.newest = update.GetRevision()
	n.receiveSecrets(update.GetSecrets())
	if message := update.GetGateway(); message != nil {
		n.followGateway(n.gateway.Apply(ctx, message, update.GetRevision(), n.running.secretUses()))
	}
	outcomes := outcomes{}
	outcome := outcomes.of(update.GetRevision())
	p := planOf(n.running, packed)
	packed.Bundles = nil // p has them, and startBuilds lets go of them
	n.reportUnchanged(p.unchanged, outcome)
	builds, candidates := n.startBuilds(p.changed, update.GetRevision(), outcomes) //nolint:contextcheck // a build ends with the node
	for _, api := range p.removed {
		n.queue.Remove(api)
	}
	n.publish()
	outcome.pending += n.background.wait(ctx, builds, n.timing.Gather)
	n.advance(ctx, candidates, step{p.removed, update.GetRevision(), envoyTimeout}, outcomes)
	if ctx.Err() == nil {
		n.updateSnapshot(func(s *snapshot) { s.revision, s.hasState = update.GetRevision(), true })
		n.followStart(time.Now())
	}
}

// step is the part of a stage beside the builds: removals, with the revision of the update that removes them, and
// how long to wait for Envoy.
type step struct {
	removed      []string
	revision     uint64
	envoyTimeout time.Duration
}

// reportUnchanged reports the APIs that are served already. One that no Envoy has accepted yet is reported when one does.
func (n *Node) reportUnchanged(bundles []*statedir.Bundle, outcome *outcome) {
	for _, bundle := range bundles {
		n.queue.Remove(bundle.API)
		current := n.running[bundle.API]
		current.revision = outcome.revision
		if current.acknowledged {
			outcome.applied(bundle.API, bundle.Digest)
			delete(n.notReady, bundle.API) // if it still is not, that is reported again
		} else {
			outcome.pending++
		}
	}
}

// advance takes the candidates, those of the finished builds and the removals through the following stages, and reports.
func (n *Node) advance(ctx context.Context, candidates []*version, step step, outcomes outcomes) {
	candidates = append(candidates, n.acquireBuilt(n.background.drain(), outcomes)...) //nolint:contextcheck // a build ends with the node
	if len(candidates)+len(step.removed) > 0 {
		n.stage(ctx, candidates, step, outcomes)
	}
	n.rollout.refreshRoutes(ctx, n.target(n.running, nil))
	if ctx.Err() != nil {
		return // the engine was stopped meanwhile: pending state stays
	}
	n.publish()
	n.storeLastGood()
	if err := n.state.Remove(statedir.Pending); err != nil {
		n.log.Error("cannot remove pending state", "error", err.Error())
	}
	n.reporter.report(outcomes)
}

// stage writes the pending state, makes Envoy serve the candidates without the removed APIs, and commits what Envoy accepts.
func (n *Node) stage(ctx context.Context, candidates []*version, step step, outcomes outcomes) {
	if err := n.state.Write(statedir.Pending, pendingUpdate(candidates, step)); err != nil {
		n.refuseUnstored(candidates, step, err, outcomes)
		return
	}
	base := n.running.with(nil)
	for _, api := range step.removed {
		delete(base, api)
		delete(n.unserved, api)
	}
	converged := n.rollout.converge(ctx, n.target(base, n.running), candidates, step.envoyTimeout)
	if ctx.Err() != nil {
		return
	}
	for _, api := range step.removed {
		n.replace(api, nil)
		n.queue.Remove(api)
		outcomes.of(step.revision).removed(api)
		if n.options.Observer != nil {
			n.options.Observer.APIRemoved(api)
		}
	}
	n.commit(converged, outcomes)
}

func pendingUpdate(candidates []*version, step step) *nodev1.Update {
	update := &nodev1.Update{Revision: step.revision, RemovedApis: step.removed}
	for _, candidate := range candidates {
		update.Bundles = append(update.Bundles, &nodev1.ApiBundle{Api: candidate.bundle.API, Digest: candidate.bundle.Digest})
	}
	return update
}

func (n *Node) refuseUnstored(candidates []*version, step step, cause error, outcomes outcomes) {
	err := transient.Mark(fmt.Errorf("the node cannot store its state, and tries again: %w", cause))
	for _, candidate := range candidates {
		n.chains.release(candidate.chains, candidate.bundle)
		n.reject(n.queue.Get(candidate.bundle.API), err, outcomes)
	}
	for _, api := range step.removed {
		entry := n.queue.Get(api)
		if entry == nil {
			entry = n.queue.Put(&nodev1.ApiBundle{Api: api}, step.revision, nil)
		}
		n.reject(entry, err, outcomes)
	}
}

// commit makes the versions that Envoy has accepted the running state, and rejects those that it has refused.
func (n *Node) commit(converged convergence, outcomes outcomes) {
	for _, candidate := range converged.accepted {
		candidate.acknowledged = true
		n.replace(candidate.bundle.API, candidate)
		outcomes.of(candidate.revision).applied(candidate.bundle.API, candidate.bundle.Digest)
	}
	for _, candidate := range converged.pending {
		if current := n.running[candidate.bundle.API]; current != nil {
			candidate.previous = current.lastGood()
		}
		n.replace(candidate.bundle.API, candidate)
		outcomes.of(candidate.revision).pending++
	}
	for _, refused := range converged.refused {
		n.chains.release(refused.candidate.chains, refused.candidate.bundle)
		n.reject(n.queue.Get(refused.candidate.bundle.API), refused.err, outcomes)
	}
}

// replace makes next (nil: no version) the running version of an API, and retires the versions that it replaces.
func (n *Node) replace(api string, next *version) {
	current := n.running[api]
	n.setRunning(api, next)
	if next != nil {
		n.queue.Remove(api)
		if next.acknowledged {
			delete(n.unserved, api)
		}
	}
	if current == nil {
		return
	}
	for _, old := range []*version{current, current.previous} {
		if old != nil && old != next && (next == nil || old != next.previous) {
			n.rollout.retired.add(old, n.chains.release(old.chains, old.bundle), time.Now())
		}
	}
}

// storeLastGood stores the last good state. If that fails the old one stays, and the next update tries again.
func (n *Node) storeLastGood() {
	revision, bundles := n.running.lastGood()
	revision = max(revision, n.newest) // without an API, too: a controller has said that there is none
	for _, bundle := range n.unserved {
		bundles = append(bundles, bundle)
	}
	var err error
	for _, message := range n.queue.Unserved(func(api string) bool { return n.running[api] != nil || n.unserved[api] != nil }) {
		bundle, packErr := statedir.Pack(message)
		if packErr != nil {
			err = packErr
			continue
		}
		bundles = append(bundles, bundle)
	}
	if err = cmp.Or(n.state.StoreLastGood(revision, bundles), err); err != nil {
		n.log.Error("cannot store the last good state: after a restart without controller the previous state would come back",
			"directory", n.state.Path(), "error", err.Error())
	}
}

// retryDue tries the APIs again whose retry is due.
func (n *Node) retryDue(ctx context.Context) {
	outcomes := outcomes{}
	step := step{envoyTimeout: n.timing.Probe}
	for _, entry := range n.queue.Due(time.Now()) {
		if entry.Message.GetDigest() == "" {
			step.removed, step.revision = append(step.removed, entry.Message.GetApi()), max(step.revision, entry.Revision)
		} else {
			n.build(entry, nil, outcomes) //nolint:contextcheck // a build ends with the node
		}
	}
	if len(step.removed)+len(outcomes) > 0 {
		n.advance(ctx, nil, step, outcomes)
	}
}
