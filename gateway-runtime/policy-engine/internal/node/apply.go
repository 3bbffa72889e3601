package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/xds"
)

// apply takes an update through all stages: chains built, pending state to disk, clusters beside the old ones, routes,
// last good state to disk, report. Old chains and then old clusters go later. What is refused is set aside, and the
// last good version of its API stays. What takes long to build holds nobody back: it follows when it is built.
func (n *Node) apply(ctx context.Context, update *nodev1.Update, patience time.Duration) {
	n.stats.updates.Add(1)
	outcomes := outcomes{}
	outcome := outcomes.of(update.GetRevision())
	p := planOf(n.running, update)
	n.settleUnchanged(p.unchanged, outcome)
	var builds []*build
	for _, message := range p.changed {
		if w := n.waiting[message.GetApi()]; n.goesOn(w, message, update.GetRevision()) {
			builds = append(builds, w.build)
			continue
		}
		w := n.await(message, update.GetRevision())
		if message.GetUnserved() != "" {
			continue
		}
		if n.try(w, outcomes); w.build != nil { //nolint:contextcheck // a build ends with the node
			builds = append(builds, w.build)
		}
	}
	for _, api := range p.removed {
		delete(n.waiting, api)
	}
	n.publish()
	outcome.pending += n.gather(ctx, builds)
	n.advance(ctx, step{p.removed, update.GetRevision(), patience}, outcomes)
	if ctx.Err() == nil {
		n.stats.revision.Store(update.GetRevision())
	}
}

// step is what goes through the stages beside what was built: removals, with the revision of the update that said so, and
// how long to wait for Envoy.
type step struct {
	removed  []string
	revision uint64
	patience time.Duration
}

// settleUnchanged reports what is served already. What no Envoy has taken yet is reported when one does.
func (n *Node) settleUnchanged(bundles []*nodev1.ApiBundle, outcome *outcome) {
	for _, bundle := range bundles {
		delete(n.waiting, bundle.GetApi())
		current := n.running[bundle.GetApi()]
		current.revision = outcome.revision
		if current.acknowledged {
			outcome.applied(bundle)
			delete(n.ailing, bundle.GetApi()) // if it is, that is said again
		} else {
			outcome.pending++
		}
	}
}

// gather waits until all builds are done, or none has been for Timing.Gather, and returns how many are not.
func (n *Node) gather(ctx context.Context, builds []*build) (left int) {
	wanted := make(map[*build]bool, len(builds))
	for _, b := range builds {
		wanted[b] = true
	}
	idle := time.NewTimer(n.timing.Gather)
	defer idle.Stop()
	for len(wanted) > 0 {
		select {
		case b := <-n.built:
			n.arrived = append(n.arrived, b)
			delete(wanted, b)
			idle.Reset(n.timing.Gather)
		case <-idle.C:
			return len(wanted)
		case <-ctx.Done():
			return len(wanted)
		}
	}
	return 0
}

// advance takes what was built, and the removals, through the stages that follow, and reports.
func (n *Node) advance(ctx context.Context, step step, outcomes outcomes) {
	if candidates := n.hold(outcomes); len(candidates)+len(step.removed) > 0 { //nolint:contextcheck // a build ends with the node
		n.stage(ctx, candidates, step, outcomes)
	}
	n.showUnserved(ctx)
	if ctx.Err() != nil {
		return // pending state stays: the engine was stopped in the middle
	}
	n.finish(outcomes)
}

// hold makes candidates of the builds that have arrived. Their chains are held.
func (n *Node) hold(outcomes outcomes) (candidates []*version) {
	for _, b := range n.arrived {
		w := n.waiting[b.message.GetApi()]
		if w == nil || w.build != b {
			n.chains.discard(b) // there is a newer word
			continue
		}
		w.build = nil
		err := n.chains.hold(b)
		if errors.Is(err, errStale) || err != nil && w.renewed {
			n.begin(w)
			continue
		}
		switch {
		case err != nil:
			n.setAside(w, err, outcomes)
		default:
			candidates = append(candidates, &version{message: w.message, bundle: w.bundle, revision: w.revision})
		}
		if w.next != nil {
			n.inbox.giveBack(w.next)
			w.next = nil
		}
	}
	n.arrived = nil
	return candidates
}

func (n *Node) stage(ctx context.Context, candidates []*version, step step, outcomes outcomes) {
	if err := n.storePending(candidates, step); err != nil {
		n.stats.stateErrors.Add(1)
		n.refuseUnstored(candidates, step, err, outcomes)
		return
	}
	base := n.running.with(nil)
	for _, api := range step.removed {
		delete(base, api)
		delete(n.dormant, api)
	}
	settled := n.settle(ctx, base, n.running, candidates, step.patience)
	if ctx.Err() != nil {
		return
	}
	for _, api := range step.removed {
		n.replace(api, nil)
		delete(n.waiting, api)
		outcomes.of(step.revision).removed(api)
		if n.options.Observer != nil {
			n.options.Observer.APIRemoved(api)
		}
	}
	n.take(settled, outcomes)
}

func (n *Node) storePending(candidates []*version, step step) error {
	update := &nodev1.Update{Revision: step.revision, RemovedApis: step.removed}
	for _, candidate := range candidates {
		update.Bundles = append(update.Bundles, candidate.message)
	}
	return n.store.write(pendingFile, update)
}

func (n *Node) refuseUnstored(candidates []*version, step step, cause error, outcomes outcomes) {
	err := passing{fmt.Errorf("the node cannot store its state, and tries again: %w", cause)}
	for _, candidate := range candidates {
		n.chains.release(candidate.message)
		n.setAside(n.waiting[candidate.bundle.API], err, outcomes)
	}
	for _, api := range step.removed {
		w := n.waiting[api]
		if w == nil {
			w = n.await(&nodev1.ApiBundle{Api: api}, step.revision)
		}
		n.setAside(w, err, outcomes)
	}
}

// take makes what was settled the running state.
func (n *Node) take(settled settlement, outcomes outcomes) {
	for _, candidate := range settled.accepted {
		candidate.acknowledged = true
		n.replace(candidate.bundle.API, candidate)
		outcomes.of(candidate.revision).applied(candidate.message)
	}
	for _, candidate := range settled.pending {
		if current := n.running[candidate.bundle.API]; current != nil {
			candidate.previous = current.lastGood()
		}
		n.replace(candidate.bundle.API, candidate)
		outcomes.of(candidate.revision).pending++
	}
	for _, refused := range settled.refused {
		n.chains.release(refused.candidate.message)
		n.setAside(n.waiting[refused.candidate.bundle.API], refused.err, outcomes)
	}
}

// replace makes next (nil: nothing) what runs of an API, and retires the versions that this leaves behind.
func (n *Node) replace(api string, next *version) {
	current := n.running[api]
	if next == nil {
		delete(n.running, api)
	} else {
		n.running[api] = next
		delete(n.waiting, api)
		if next.acknowledged {
			delete(n.dormant, api)
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

// showUnserved gives Envoy what answers for the APIs of which nothing runs, where that has changed.
func (n *Node) showUnserved(ctx context.Context) {
	bundles := n.bundles(n.running)
	if n.routed != nil && slices.Equal(bundles, n.routed) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, n.timing.Acknowledge)
	defer cancel()
	config, err := xds.Compose(bundles)
	if err == nil {
		err = n.setRoutes(ctx, bundles, config)
	}
	if err != nil && !errors.Is(err, xds.ErrNoEnvoy) {
		n.log.Error("Envoy does not answer for the APIs that are not served", "error", err.Error())
	}
}

// finish writes the last good state and reports.
func (n *Node) finish(outcomes outcomes) {
	n.publish()
	n.save()
	if err := n.store.remove(pendingFile); err != nil {
		n.log.Error("cannot remove pending state", "error", err.Error())
	}
	for _, revision := range slices.Sorted(maps.Keys(outcomes)) {
		n.report(outcomes[revision])
	}
}

// save writes the last good state. If that fails the old file stays, and the next update tries again.
func (n *Node) save() {
	state := n.running.lastGood()
	for _, bundle := range n.dormant {
		state.Bundles = append(state.Bundles, bundle)
	}
	state.Bundles = append(state.Bundles, n.unserved()...)
	if err := n.store.write(lastGoodFile, state); err != nil {
		n.stats.stateErrors.Add(1)
		n.log.Error("cannot store the last good state: after a restart without controller the one before would come back",
			"directory", n.store.directory, "error", err.Error())
	}
}

// retry tries again what is due.
func (n *Node) retry(ctx context.Context) {
	outcomes := outcomes{}
	step := step{patience: n.timing.Probe}
	for _, api := range n.due(time.Now()) {
		if w := n.waiting[api]; w.message.GetDigest() == "" {
			step.removed, step.revision = append(step.removed, api), max(step.revision, w.revision)
		} else {
			n.try(w, outcomes) //nolint:contextcheck // a build ends with the node
		}
	}
	if len(step.removed) > 0 {
		n.advance(ctx, step, outcomes)
	}
}

// resume takes in what was built in the background, all that is there.
func (n *Node) resume(ctx context.Context, first *build) {
	n.arrived = append(n.arrived, first)
	for more := true; more; {
		select {
		case b := <-n.built:
			n.arrived = append(n.arrived, b)
		default:
			more = false
		}
	}
	n.advance(ctx, step{patience: n.timing.Acknowledge}, outcomes{})
}
