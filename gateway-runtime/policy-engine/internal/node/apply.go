package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/statedir"
	"gatewright.dev/policy-engine/internal/node/transient"
	"gatewright.dev/policy-engine/internal/xds"
)

// apply takes an update through all stages: its Gateway, chains built, pending state to disk, clusters beside the old ones, routes,
// last good state to disk, report. Old chains and then old clusters go later. A bundle that is refused is rejected, and the last
// good version of its API stays. A build that takes long does not delay the others: its API follows when it is built.
func (n *Node) apply(ctx context.Context, update *nodev1.Update, envoyTimeout time.Duration) {
	n.stats.updates.Add(1)
	if message := update.GetGateway(); message != nil {
		n.followGateway(n.gateway.Apply(ctx, message, update.GetRevision(), n.running.secretUses()))
	}
	outcomes := outcomes{}
	outcome := outcomes.of(update.GetRevision())
	p := planOf(n.running, update)
	n.reportUnchanged(p.unchanged, outcome)
	var builds []*build
	for _, message := range p.changed {
		if q := n.queue[message.GetApi()]; n.keepsBuild(q, message, update.GetRevision()) {
			builds = append(builds, q.build)
			continue
		}
		q := n.enqueue(message, update.GetRevision())
		if message.GetUnserved() != "" {
			continue
		}
		if n.build(q, outcomes); q.build != nil { //nolint:contextcheck // a build ends with the node
			builds = append(builds, q.build)
		}
	}
	for _, api := range p.removed {
		delete(n.queue, api)
	}
	n.publish()
	outcome.pending += n.waitForBuilds(ctx, builds)
	n.advance(ctx, step{p.removed, update.GetRevision(), envoyTimeout}, outcomes)
	if ctx.Err() == nil {
		n.stats.revision.Store(update.GetRevision())
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
func (n *Node) reportUnchanged(bundles []*nodev1.ApiBundle, outcome *outcome) {
	for _, bundle := range bundles {
		delete(n.queue, bundle.GetApi())
		current := n.running[bundle.GetApi()]
		current.revision = outcome.revision
		if current.acknowledged {
			outcome.applied(bundle)
			delete(n.notReady, bundle.GetApi()) // if it still is not, that is reported again
		} else {
			outcome.pending++
		}
	}
}

// waitForBuilds waits until all builds are done, or none has finished for Timing.Gather, and returns how many are not done.
func (n *Node) waitForBuilds(ctx context.Context, builds []*build) (left int) {
	waiting := make(map[*build]bool, len(builds))
	for _, b := range builds {
		waiting[b] = true
	}
	idle := time.NewTimer(n.timing.Gather)
	defer idle.Stop()
	for len(waiting) > 0 {
		select {
		case b := <-n.built:
			n.arrived = append(n.arrived, b)
			delete(waiting, b)
			idle.Reset(n.timing.Gather)
		case <-idle.C:
			return len(waiting)
		case <-ctx.Done():
			return len(waiting)
		}
	}
	return 0
}

// advance takes the finished builds and the removals through the following stages, and reports.
func (n *Node) advance(ctx context.Context, step step, outcomes outcomes) {
	if candidates := n.acquireBuilt(outcomes); len(candidates)+len(step.removed) > 0 { //nolint:contextcheck // a build ends with the node
		n.stage(ctx, candidates, step, outcomes)
	}
	n.setFallbackRoutes(ctx)
	if ctx.Err() != nil {
		return // the engine was stopped meanwhile: pending state stays
	}
	n.storeAndReport(outcomes)
}

// acquireBuilt makes candidates of the builds that are done. It puts their chains into the table.
func (n *Node) acquireBuilt(outcomes outcomes) (candidates []*version) {
	for _, b := range n.arrived {
		q := n.queue[b.message.GetApi()]
		if q == nil || q.build != b {
			n.chains.discard(b) // a newer bundle has come
			continue
		}
		q.build = nil
		err := n.acquire(b, q.bundle)
		if errors.Is(err, errStale) || err != nil && q.renewed {
			n.startBuild(q)
			continue
		}
		switch {
		case err != nil:
			n.reject(q, err, outcomes)
		default:
			n.rotations.Add(n.chains.rotatable(b.message)...)
			candidates = append(candidates, &version{message: q.message, bundle: q.bundle, revision: q.revision})
		}
		if q.next != nil {
			n.inbox.Requeue(q.next)
			q.next = nil
		}
	}
	n.arrived = nil
	return candidates
}

// acquire makes chains of a build. The Gateway may have changed since the build began.
func (n *Node) acquire(b *build, bundle *xds.Bundle) error {
	if err := n.gateway.MissingSecrets(bundle); err != nil {
		n.chains.discard(b)
		return err
	}
	return n.chains.acquire(b)
}

func (n *Node) stage(ctx context.Context, candidates []*version, step step, outcomes outcomes) {
	if err := n.storePending(candidates, step); err != nil {
		n.refuseUnstored(candidates, step, err, outcomes)
		return
	}
	base := n.running.with(nil)
	for _, api := range step.removed {
		delete(base, api)
		delete(n.unserved, api)
	}
	converged := n.converge(ctx, base, n.running, candidates, step.envoyTimeout)
	if ctx.Err() != nil {
		return
	}
	for _, api := range step.removed {
		n.replace(api, nil)
		delete(n.queue, api)
		outcomes.of(step.revision).removed(api)
		if n.options.Observer != nil {
			n.options.Observer.APIRemoved(api)
		}
	}
	n.commit(converged, outcomes)
}

func (n *Node) storePending(candidates []*version, step step) error {
	update := &nodev1.Update{Revision: step.revision, RemovedApis: step.removed}
	for _, candidate := range candidates {
		update.Bundles = append(update.Bundles, candidate.message)
	}
	return n.store.Write(statedir.Pending, update)
}

func (n *Node) refuseUnstored(candidates []*version, step step, cause error, outcomes outcomes) {
	err := transient.Mark(fmt.Errorf("the node cannot store its state, and tries again: %w", cause))
	for _, candidate := range candidates {
		n.chains.release(candidate.message)
		n.reject(n.queue[candidate.bundle.API], err, outcomes)
	}
	for _, api := range step.removed {
		q := n.queue[api]
		if q == nil {
			q = n.enqueue(&nodev1.ApiBundle{Api: api}, step.revision)
		}
		n.reject(q, err, outcomes)
	}
}

// commit makes the versions that Envoy has accepted the running state, and rejects those that it has refused.
func (n *Node) commit(converged convergence, outcomes outcomes) {
	for _, candidate := range converged.accepted {
		candidate.acknowledged = true
		n.replace(candidate.bundle.API, candidate)
		outcomes.of(candidate.revision).applied(candidate.message)
	}
	for _, candidate := range converged.pending {
		if current := n.running[candidate.bundle.API]; current != nil {
			candidate.previous = current.lastGood()
		}
		n.replace(candidate.bundle.API, candidate)
		outcomes.of(candidate.revision).pending++
	}
	for _, refused := range converged.refused {
		n.chains.release(refused.candidate.message)
		n.reject(n.queue[refused.candidate.bundle.API], refused.err, outcomes)
	}
}

// replace makes next (nil: no version) the running version of an API, and retires the versions that it replaces.
func (n *Node) replace(api string, next *version) {
	current := n.running[api]
	if next == nil {
		delete(n.running, api)
	} else {
		n.running[api] = next
		delete(n.queue, api)
		if next.acknowledged {
			delete(n.unserved, api)
		}
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

// setFallbackRoutes sends Envoy the routes that answer for APIs of which no version runs, and the Gateway's part of the routes,
// where either has changed.
func (n *Node) setFallbackRoutes(ctx context.Context) {
	bundles := n.bundles(n.running)
	front := n.gateway.Front()
	if n.routed != nil && slices.Equal(bundles, n.routed) && front == n.front {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, n.timing.Acknowledge)
	defer cancel()
	config, err := xds.Compose(bundles, front)
	if err == nil {
		err = n.setRoutes(ctx, bundles, config, front)
	}
	if err != nil && !errors.Is(err, xds.ErrNoEnvoy) {
		n.log.Error("Envoy did not accept the routes for APIs that are not served and for challenges", "error", err.Error())
	}
}

// storeAndReport writes the last good state and reports.
func (n *Node) storeAndReport(outcomes outcomes) {
	n.publish()
	n.storeLastGood()
	if err := n.store.Remove(statedir.Pending); err != nil {
		n.log.Error("cannot remove pending state", "error", err.Error())
	}
	for _, revision := range slices.Sorted(maps.Keys(outcomes)) {
		n.report(outcomes[revision])
	}
}

// storeLastGood writes the last good state. If that fails the old file stays, and the next update tries again.
func (n *Node) storeLastGood() {
	state := n.running.lastGood()
	for _, bundle := range n.unserved {
		state.Bundles = append(state.Bundles, bundle)
	}
	state.Bundles = append(state.Bundles, n.fallbacks()...)
	if err := n.store.Write(statedir.LastGood, state); err != nil {
		n.log.Error("cannot store the last good state: after a restart without controller the previous state would come back",
			"directory", n.store.Path(), "error", err.Error())
	}
}

// retryDue tries the APIs again whose retry is due.
func (n *Node) retryDue(ctx context.Context) {
	outcomes := outcomes{}
	step := step{envoyTimeout: n.timing.Probe}
	for _, api := range n.due(time.Now()) {
		if q := n.queue[api]; q.message.GetDigest() == "" {
			step.removed, step.revision = append(step.removed, api), max(step.revision, q.revision)
		} else {
			n.build(q, outcomes) //nolint:contextcheck // a build ends with the node
		}
	}
	if len(step.removed) > 0 {
		n.advance(ctx, step, outcomes)
	}
}

// advanceBuilt advances the first build and all others that have finished in the background.
func (n *Node) advanceBuilt(ctx context.Context, first *build) {
	n.arrived = append(n.arrived, first)
	for more := true; more; {
		select {
		case b := <-n.built:
			n.arrived = append(n.arrived, b)
		default:
			more = false
		}
	}
	n.advance(ctx, step{envoyTimeout: n.timing.Acknowledge}, outcomes{})
}
