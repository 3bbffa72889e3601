package node

import (
	"context"
	"maps"
	"slices"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/statedir"
)

// Restore restores the last good state, or one from elsewhere where there is none: it applies the Gateway and builds the chains, and Envoy receives both once it connects.
// It waits only for the policies' factories. A state that cannot be read is logged and ignored.
func (n *Node) Restore(ctx context.Context) {
	state := n.readLastGood()
	if isEmpty(state) {
		if seeded := n.seed(ctx); seeded != nil {
			state = seeded
		}
	}
	n.followGateway(n.gateway.Restore(ctx))
	if pending, err := n.state.Read(statedir.Pending); err != nil || pending != nil {
		n.log.Warn("the engine stopped while an update was being applied; the controller will send it again",
			"revision", pending.GetRevision(), "apis", len(pending.GetBundles()))
		_ = n.state.Remove(statedir.Pending)
	}
	n.restoreSecrets()
	n.restoreState(ctx, state)
}

// readLastGood returns the last good state on disk; nil: there is none.
func (n *Node) readLastGood() *nodev1.Update {
	state, err := n.state.Read(statedir.LastGood)
	if err != nil {
		n.log.Error("the last good state is damaged: it is ignored, and kept as *.damaged", "error", err.Error())
		n.state.RenameDamaged(statedir.LastGood)
		return nil
	}
	if origin := n.state.ReadOrigin(); origin != nil {
		n.updateSnapshot(func(s *snapshot) { s.origin = origin })
	}
	return state
}

func (n *Node) restoreState(ctx context.Context, state *nodev1.Update) {
	outcomes, empty := outcomes{}, isEmpty(state)
	packed := n.packState(state)
	builds, versions := n.startBuilds(packed, state.GetRevision(), outcomes) //nolint:contextcheck // a build ends with the node
	left := n.background.wait(ctx, builds, n.timing.Gather)
	versions = append(versions, n.acquireBuilt(n.background.drain(), outcomes)...) //nolint:contextcheck // a build ends with the node
	n.unrestored = newUnrestored(outcomes.of(state.GetRevision()).statuses, n.options.Controller != "", time.Now().Add(n.timing.Replace), n.log)
	for _, v := range versions {
		v.acknowledged = true // by an earlier Envoy
		n.replace(v.bundle.API, v)
	}
	n.rollout.converge(ctx, n.target(n.running, n.running), nil, n.timing.Acknowledge) // no Envoy yet: the next one that connects receives it
	n.newest = state.GetRevision()
	n.updateSnapshot(func(s *snapshot) { s.revision, s.hasState = state.GetRevision(), !empty })
	n.start.over = !empty
	n.publish()
	if len(packed) > 0 {
		n.log.Info("last good state restored", "apis", len(versions), "building", left, "revision", state.GetRevision())
	}
}

// packState takes the bundles out of a state, packed. Those that are to be served are not served until they are built.
func (n *Node) packState(state *nodev1.Update) (packed []*statedir.Bundle) {
	for i, message := range state.GetBundles() {
		state.Bundles[i] = nil
		kept, err := statedir.Pack(message)
		if err != nil { // it has just been read
			n.log.Error("cannot keep an API of the last good state", "api", message.GetApi(), "error", err.Error())
			continue
		}
		packed = append(packed, kept)
		if message.GetUnserved() == "" {
			n.unserved[message.GetApi()] = kept
		}
	}
	return packed
}

// confirm waits until an Envoy that has just connected has acknowledged everything. A version that it refuses is rejected, in
// favour of the API's previous version, if there is one.
func (n *Node) confirm(ctx context.Context) {
	all, previous := make([]*version, 0, len(n.running)), running{}
	for _, api := range slices.Sorted(maps.Keys(n.running)) {
		v := n.running[api]
		all = append(all, v)
		if v.previous != nil {
			previous[api] = v.previous
		}
	}
	converged := n.rollout.converge(ctx, n.target(running{}, previous), all, n.timing.Acknowledge)
	if ctx.Err() != nil || len(converged.pending) == len(all) && len(all) > 0 {
		return
	}
	outcomes := outcomes{}
	for _, v := range converged.accepted {
		if !v.acknowledged {
			outcomes.of(v.revision).applied(v.bundle.API, v.bundle.Digest)
		}
		v.acknowledged = true
		delete(n.unserved, v.bundle.API)
		if v.previous != nil {
			n.rollout.retired.add(v.previous, n.chains.release(v.previous.chains, v.previous.bundle), time.Now())
			v.previous = nil
		}
	}
	n.rollBack(ctx, converged, outcomes)
	n.rollout.refreshRoutes(ctx, n.target(n.running, nil))
	n.publish()
	n.storeLastGood()
	n.reporter.report(outcomes)
	n.log.Info("Envoy serves the node's state", "apis", len(n.running), "refused", len(converged.refused))
}

// rollBack restores the previous versions of those that were refused.
func (n *Node) rollBack(ctx context.Context, converged convergence, outcomes outcomes) {
	if len(converged.refused) == 0 {
		return
	}
	var before []*version
	for _, refused := range converged.refused {
		v := refused.candidate
		if message, err := v.kept.Message(); err != nil {
			n.log.Error("an API that Envoy refuses cannot be tried again", "api", v.bundle.API, "error", err.Error())
		} else if n.queue.Get(v.bundle.API) == nil { // otherwise a newer bundle has arrived
			n.reject(n.queue.Put(message, v.revision, secretsOf(message)), refused.err, outcomes)
		}
		n.chains.release(v.chains, v.bundle)
		n.setRunning(v.bundle.API, nil)
		switch {
		case v.previous != nil:
			before = append(before, v.previous)
		case v.acknowledged:
			n.unserved[v.bundle.API] = v.kept // Envoy accepted it once, and may again
		}
	}
	again := n.rollout.converge(ctx, n.target(n.running, n.running), before, n.timing.Probe)
	for _, v := range append(again.accepted, again.pending...) {
		n.setRunning(v.bundle.API, v)
	}
	for _, refused := range again.refused {
		n.chains.release(refused.candidate.chains, refused.candidate.bundle)
		n.unserved[refused.candidate.bundle.API] = refused.candidate.kept
	}
}
