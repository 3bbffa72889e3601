package node

import (
	"slices"
	"strings"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/secrets"
)

// rotated are the chains of one version of an API, whose instances are built together when their secrets change, or a policy
// of theirs moves to another executor group.
type rotated struct{ api, version, context string }

// rotation is what becomes of these chains. Chains keep their ids, so that Envoy hears nothing of it: new
// instances are built, a chain of them takes the place of the one that was, and that is closed after its last exchange.
type rotation struct {
	building bool
	moved    bool // it is for a policy that has moved
	again    bool // there is more to rotate since it began
	tries    int  // that have failed
	retryAt  time.Time
	reason   string // why the last one failed, as it was logged
}

// rotationBuild is a build for a rotation, done.
type rotationBuild struct {
	of    rotated
	build *build
}

// replacedChain is a chain that another one has taken the place of, and the instances that it counts among their users.
type replacedChain struct {
	chain     *chain.Chain
	instances []string
}

// secretsChanged looks at all that uses secrets.
func (n *Node) secretsChanged(now time.Time) {
	for _, ref := range n.chains.refs {
		if len(ref.secrets) > 0 {
			n.checkChain(ref)
		}
	}
	for _, q := range n.queue {
		if q.build == nil && !q.retryAt.IsZero() {
			q.retryAt = now
		}
	}
	n.rotate(now)
}

// policiesMoved has the instances built again of policies that run in another executor group now.
func (n *Node) policiesMoved(now time.Time) {
	for _, ref := range n.chains.refs {
		if ref.bundles > 0 && !n.chains.isCurrent(ref) {
			n.checkChain(ref).moved = true
		}
	}
	n.rotate(now)
}

// checkChain has the next rotate look at a chain.
func (n *Node) checkChain(ref *chainRef) *rotation {
	of := rotated{ref.bundle.GetApi(), ref.bundle.GetVersion(), ref.bundle.GetContext()}
	at := n.rotations[of]
	if at == nil {
		at = &rotation{}
		n.rotations[of] = at
	}
	at.again, at.tries, at.retryAt = at.building, 0, time.Time{}
	return at
}

// checkChainsOf has the next rotate look at the chains of a bundle: secrets may have changed, or policies moved, since its
// build began.
func (n *Node) checkChainsOf(message *nodev1.ApiBundle) {
	for _, one := range message.GetChains() {
		if ref := n.chains.refs[one.GetId()]; ref != nil && (len(ref.secrets) > 0 || !n.chains.isCurrent(ref)) {
			n.checkChain(ref)
		}
	}
}

// rotate begins to build what has other secrets than it was built with, or another executor group.
func (n *Node) rotate(now time.Time) {
	for of, at := range n.rotations {
		if at.building || now.Before(at.retryAt) {
			continue
		}
		stale := n.chains.stale(of)
		if len(stale.GetChains()) == 0 {
			delete(n.rotations, of)
			continue
		}
		at.building, at.again = true, false
		n.chains.startRotation(stale, func(b *build) { n.deliverRotation(rotationBuild{of, b}) })
	}
	n.publishRotations()
}

func (n *Node) deliverRotation(done rotationBuild) {
	select {
	case n.rotated <- done:
	case <-n.lifetime.Done():
		n.chains.discard(done.build)
	}
}

// finishRotation takes in what was built for a rotation. What could not be built is tried again, and goes on with the
// secrets before meanwhile.
func (n *Node) finishRotation(done rotationBuild, now time.Time) {
	at := n.rotations[done.of]
	at.building = false
	switch err := n.chains.replace(done.build); {
	case err == nil && at.moved:
		n.log.Info("policies run in the executor groups that they have moved to", "api", done.of.api)
		at.reason, at.tries, at.moved = "", 0, false
	case err == nil:
		n.log.Info("policies use the secrets that have changed", "api", done.of.api)
		at.reason, at.tries = "", 0
	case at.again:
	default:
		at.retryAt = now.Add(n.timing.backOff(at.tries))
		at.tries++
		if reason := err.Error(); reason != at.reason {
			at.reason = reason
			what := "policies cannot use a secret that has changed; they go on with the one before, and this is tried again"
			if at.moved {
				what = "policies cannot be prepared in the executor group that they have moved to; this is tried again"
			}
			n.log.Error(what, "api", done.of.api, "reason", reason)
		}
	}
	n.rotate(now)
}

// keepSecrets forgets the secrets that nothing names any more.
func (n *Node) keepSecrets() {
	used := map[secrets.Ref]bool{}
	for _, ref := range n.chains.refs {
		for _, one := range ref.secrets {
			used[one] = true
		}
	}
	for _, q := range n.queue {
		for _, one := range q.secrets {
			used[one] = true
		}
	}
	n.secrets.Keep(used)
}

func (n *Node) publishRotations() {
	failing := 0
	for _, at := range n.rotations {
		if at.reason != "" {
			failing++
		}
	}
	n.unrotated.Store(int64(failing))
}

// secretStats are those of the files, and of what could not be built with them.
func (n *Node) secretStats() SecretStats {
	files := n.secrets.Stats()
	return SecretStats{InUse: files.InUse, FailingFiles: files.Failing, FailingAPIs: int(n.unrotated.Load())}
}

// secretsOf are the secrets that a bundle names. What cannot be read names none; it is said when it is built.
func secretsOf(bundle *nodev1.ApiBundle) []secrets.Ref {
	var all []secrets.Ref
	for _, message := range bundle.GetChains() {
		for _, attachment := range message.GetAttachments() {
			refs, err := refsOf(bundle.GetApi(), attachment)
			if err == nil {
				all = append(all, refs...)
			}
		}
	}
	return all
}

// stale are the chains in use that were built with other secrets or in another executor group than they would be now, as a
// bundle of these alone.
func (c *chains) stale(of rotated) *nodev1.ApiBundle {
	found := &nodev1.ApiBundle{Api: of.api, Version: of.version, Context: of.context}
	for _, ref := range c.refs {
		if ref.bundles == 0 || of != (rotated{ref.bundle.GetApi(), ref.bundle.GetVersion(), ref.bundle.GetContext()}) {
			continue
		}
		if !c.isCurrent(ref) {
			found.Chains = append(found.Chains, ref.message)
		}
	}
	slices.SortFunc(found.Chains, func(a, b *nodev1.Chain) int { return strings.Compare(a.GetId(), b.GetId()) })
	return found
}

func (c *chains) isCurrent(ref *chainRef) bool {
	for i, attachment := range ref.message.GetAttachments() {
		bound, err := c.binder.bind(ref.bundle.GetApi(), attachment)
		if err == nil && bound.instance != ref.instances[i] {
			return false
		}
	}
	return true
}

// startRotation builds what chains that are there need with the secrets as they are now, as startBuild does.
func (c *chains) startRotation(message *nodev1.ApiBundle, done func(*build)) {
	b := newBuild(message)
	wanted := map[string]*boundAttachment{}
	for _, one := range message.GetChains() {
		c.bind(b, one, wanted)
	}
	c.builds.Go(func() {
		c.buildInstances(b, wanted)
		done(b)
	})
}

// replace puts chains of what was built in the place of those that were. Those of which an instance could not be built stay.
func (c *chains) replace(b *build) error {
	var wrong buildErrors
	for _, message := range b.message.GetChains() {
		if ref := c.refs[message.GetId()]; ref != nil && ref.bundles > 0 {
			c.replaceChain(b, ref, &wrong)
		}
	}
	for id, made := range b.built {
		if ref := c.instances[id]; ref == nil || ref.made != made {
			c.closeInstance(made)
		}
	}
	return wrong.err()
}

func (c *chains) replaceChain(b *build, ref *chainRef, wrong *buildErrors) {
	for _, attachment := range ref.message.GetAttachments() {
		id := b.instance(attachment)
		if c.instances[id] == nil && b.built[id] == nil && b.failures[id] == nil {
			wrong.add(ref.message.GetOperation(), []error{transientError{errStale}})
			return
		}
	}
	fresh := c.newChain(b, ref.message, wrong)
	if fresh == nil {
		return
	}
	old := &replacedChain{ref.chain, ref.instances}
	c.hold(ref, b, fresh)
	c.replaced[old] = true
	c.table.Replace(fresh, c.grace, func() { c.gone(departure{replaced: old}) })
}

// closeReplaced closes a chain whose last exchange has ended, and the instances that no chain needs any more.
func (c *chains) closeReplaced(old *replacedChain) {
	delete(c.replaced, old)
	old.chain.Close()
	for _, id := range old.instances {
		c.releaseInstance(id)
	}
}
