package node

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

// Restore brings the last good state back: chains are built, and Envoy will be served once it connects. It waits for
// nobody but the policies' factories. What cannot be read is logged and left aside.
func (n *Node) Restore(ctx context.Context) {
	if pending, err := n.store.read(pendingFile); err != nil || pending != nil {
		n.log.Warn("the engine stopped while an update was being applied; the controller will send it again",
			"revision", pending.GetRevision(), "apis", len(pending.GetBundles()))
		_ = n.store.remove(pendingFile)
	}
	state, err := n.store.read(lastGoodFile)
	if err != nil {
		n.log.Error("the last good state is ignored and kept beside", "error", err.Error())
		path := filepath.Join(n.store.directory, lastGoodFile)
		_ = os.Rename(path, path+".damaged")
		return
	}
	n.bringBack(ctx, state)
}

func (n *Node) bringBack(ctx context.Context, state *nodev1.Update) {
	outcomes := outcomes{}
	var builds []*build
	for _, message := range state.GetBundles() {
		w := n.await(message, state.GetRevision())
		if message.GetUnserved() != "" {
			continue
		}
		n.dormant[message.GetApi()] = message
		if n.try(w, outcomes); w.build != nil { //nolint:contextcheck // a build ends with the node
			builds = append(builds, w.build)
		}
	}
	left := n.gather(ctx, builds)
	versions := n.hold(outcomes) //nolint:contextcheck // a build ends with the node
	for _, status := range outcomes.of(state.GetRevision()).statuses {
		n.log.Error("an API of the last good state does not come up", "api", status.GetApi(), "reason", status.GetReason())
	}
	for _, v := range versions {
		v.acknowledged = true // by an Envoy before
		n.replace(v.bundle.API, v)
	}
	n.settle(ctx, n.running, n.running, nil, n.timing.Acknowledge) // no Envoy yet: set for the one that will connect
	n.stats.revision.Store(state.GetRevision())
	n.publish()
	if len(state.GetBundles()) > 0 {
		n.log.Info("last good state restored", "apis", len(versions), "beingBuilt", left, "revision", state.GetRevision())
	}
}

// confirm asks an Envoy that has just connected for its word on everything. What it refuses is set aside, in favour of
// the API's version before, if there is one.
func (n *Node) confirm(ctx context.Context) {
	all, before := make([]*version, 0, len(n.running)), running{}
	for _, api := range slices.Sorted(maps.Keys(n.running)) {
		v := n.running[api]
		all = append(all, v)
		if v.previous != nil {
			before[api] = v.previous
		}
	}
	settled := n.settle(ctx, running{}, before, all, n.timing.Acknowledge)
	if ctx.Err() != nil || len(settled.pending) == len(all) && len(all) > 0 {
		return
	}
	outcomes := outcomes{}
	for _, v := range settled.accepted {
		if !v.acknowledged {
			outcomes.of(v.revision).applied(v.message)
		}
		v.acknowledged = true
		delete(n.dormant, v.bundle.API)
		if v.previous != nil {
			n.retire(v.previous)
			v.previous = nil
		}
	}
	n.goBack(ctx, settled, outcomes)
	n.showUnserved(ctx)
	n.publish()
	n.save()
	for _, outcome := range outcomes {
		n.report(outcome)
	}
	n.log.Info("Envoy serves the node's state", "apis", len(n.running), "refused", len(settled.refused))
}

// goBack puts the versions before in place of those that were refused.
func (n *Node) goBack(ctx context.Context, settled settlement, outcomes outcomes) {
	if len(settled.refused) == 0 {
		return
	}
	var before []*version
	for _, refused := range settled.refused {
		v := refused.candidate
		if w := n.waiting[v.bundle.API]; w == nil { // else there is a newer word
			n.setAside(n.await(v.message, v.revision), refused.err, outcomes)
		}
		n.chains.release(v.message)
		delete(n.running, v.bundle.API)
		switch {
		case v.previous != nil:
			before = append(before, v.previous)
		case v.acknowledged:
			n.dormant[v.bundle.API] = v.message // it was good once, and may be again
		}
	}
	again := n.settle(ctx, n.running, n.running, before, n.timing.Probe)
	for _, v := range append(again.accepted, again.pending...) {
		n.running[v.bundle.API] = v
	}
	for _, refused := range again.refused {
		n.chains.release(refused.candidate.message)
		n.dormant[refused.candidate.bundle.API] = refused.candidate.message
	}
}
