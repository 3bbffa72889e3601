package node

import (
	"slices"
	"strings"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/node/transient"
	"gatewright.dev/policy-engine/internal/secrets"
)

// rotated identifies the chains of one version of an API. Their instances are built together when their secrets change, or a
// policy of theirs moves to another executor group.
type rotated struct{ api, version, context string }

// rotation is the state of replacing these chains. Chains keep their ids, so Envoy is not involved: new
// instances are built, a chain of them replaces the old one, and that is closed after its last exchange.
type rotation struct {
	building bool
	moved    bool // a policy has moved
	again    bool // more has changed since the build began
	tries    int  // failed tries
	retryAt  time.Time
	reason   string // why the last try failed, as it was logged
}

// rotationBuild is a finished build of a rotation.
type rotationBuild struct {
	of    rotated
	build *build
}

// replacedChain is a chain that another one has replaced, and the instances that it still refers to.
type replacedChain struct {
	chain     *chain.Chain
	instances []string
}

// rotateForSecrets schedules a rotation for all chains that use secrets, and retries the queued APIs that do.
func (n *Node) rotateForSecrets(now time.Time) {
	for _, ref := range n.chains.refs {
		if len(ref.secrets) > 0 {
			n.scheduleRotation(ref)
		}
	}
	for _, q := range n.queue {
		if q.build == nil && !q.retryAt.IsZero() {
			q.retryAt = now
		}
	}
	n.rotate(now)
}

// rotateForMoves schedules a rotation for all chains with a policy that has moved to another executor group.
func (n *Node) rotateForMoves(now time.Time) {
	for _, ref := range n.chains.refs {
		if ref.bundles > 0 && !n.chains.isCurrent(ref) {
			n.scheduleRotation(ref).moved = true
		}
	}
	n.rotate(now)
}

// scheduleRotation has the next call of rotate check a chain.
func (n *Node) scheduleRotation(ref *chainRef) *rotation {
	of := rotated{ref.bundle.GetApi(), ref.bundle.GetVersion(), ref.bundle.GetContext()}
	at := n.rotations[of]
	if at == nil {
		at = &rotation{}
		n.rotations[of] = at
	}
	at.again, at.tries, at.retryAt = at.building, 0, time.Time{}
	return at
}

// scheduleRotations has the next call of rotate check the chains of a bundle: secrets may have changed, or policies moved, since
// its build began.
func (n *Node) scheduleRotations(message *nodev1.ApiBundle) {
	for _, chain := range message.GetChains() {
		if ref := n.chains.refs[chain.GetId()]; ref != nil && (len(ref.secrets) > 0 || !n.chains.isCurrent(ref)) {
			n.scheduleRotation(ref)
		}
	}
}

// rotate starts to build the chains whose secrets have changed, or whose policies have moved to another executor group.
func (n *Node) rotate(now time.Time) {
	for of, r := range n.rotations {
		if r.building || now.Before(r.retryAt) {
			continue
		}
		stale := n.chains.staleChains(of)
		if len(stale.GetChains()) == 0 {
			delete(n.rotations, of)
			continue
		}
		r.building, r.again = true, false
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

// finishRotation replaces chains with those of a rotation's build. A failed build is tried again; meanwhile its chains go on
// with the earlier secrets.
func (n *Node) finishRotation(done rotationBuild, now time.Time) {
	r := n.rotations[done.of]
	r.building = false
	switch err := n.chains.replace(done.build); {
	case err == nil && r.moved:
		n.log.Info("policies run in the executor groups that they have moved to", "api", done.of.api)
		r.reason, r.tries, r.moved = "", 0, false
	case err == nil:
		n.log.Info("policies use the secrets that have changed", "api", done.of.api)
		r.reason, r.tries = "", 0
	case r.again:
	default:
		r.retryAt = now.Add(n.timing.backOff(r.tries))
		r.tries++
		if reason := err.Error(); reason != r.reason {
			r.reason = reason
			message := "policies cannot use a secret that has changed; they go on with its previous value, and this is tried again"
			if r.moved {
				message = "policies cannot be prepared in the executor group that they have moved to; this is tried again"
			}
			n.log.Error(message, "api", done.of.api, "reason", reason)
		}
	}
	n.rotate(now)
}

// keepSecrets drops the secrets that no chain or queued API names any more.
func (n *Node) keepSecrets() {
	used := map[secrets.Ref]bool{}
	for _, ref := range n.chains.refs {
		for _, secret := range ref.secrets {
			used[secret] = true
		}
	}
	for _, q := range n.queue {
		for _, secret := range q.secrets {
			used[secret] = true
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

// secretStats counts the secrets, the files that cannot be read and the APIs that cannot use a changed secret.
func (n *Node) secretStats() SecretStats {
	files := n.secrets.Stats()
	return SecretStats{InUse: files.InUse, FailingFiles: files.Failing, FailingAPIs: int(n.unrotated.Load())}
}

// secretsOf returns the secrets that a bundle names. Parameters that cannot be read name none; the build reports them.
func secretsOf(bundle *nodev1.ApiBundle) []secrets.Ref {
	var result []secrets.Ref
	for _, message := range bundle.GetChains() {
		for _, attachment := range message.GetAttachments() {
			refs, err := refsOf(bundle.GetApi(), attachment)
			if err == nil {
				result = append(result, refs...)
			}
		}
	}
	return result
}

// staleChains returns the chains in use that would be built with other secrets or in another executor group now, as a
// bundle of these alone.
func (c *chains) staleChains(of rotated) *nodev1.ApiBundle {
	bundle := &nodev1.ApiBundle{Api: of.api, Version: of.version, Context: of.context}
	for _, ref := range c.refs {
		if ref.bundles == 0 || of != (rotated{ref.bundle.GetApi(), ref.bundle.GetVersion(), ref.bundle.GetContext()}) {
			continue
		}
		if !c.isCurrent(ref) {
			bundle.Chains = append(bundle.Chains, ref.message)
		}
	}
	slices.SortFunc(bundle.Chains, func(a, b *nodev1.Chain) int { return strings.Compare(a.GetId(), b.GetId()) })
	return bundle
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

// startRotation builds the instances that existing chains need with the present secrets, as startBuild does.
func (c *chains) startRotation(message *nodev1.ApiBundle, done func(*build)) {
	b := newBuild(message)
	missing := map[string]*boundAttachment{}
	for _, chain := range message.GetChains() {
		c.bind(b, chain, missing)
	}
	c.builds.Go(func() {
		c.buildInstances(b, missing)
		done(b)
	})
}

// replace replaces the chains of a build. A chain of which an instance could not be built stays.
func (c *chains) replace(b *build) error {
	var mistakes buildErrors
	for _, message := range b.message.GetChains() {
		if ref := c.refs[message.GetId()]; ref != nil && ref.bundles > 0 {
			c.replaceChain(b, ref, &mistakes)
		}
	}
	for id, instance := range b.built {
		if ref := c.instances[id]; ref == nil || ref.built != instance {
			c.closeInstance(instance)
		}
	}
	return mistakes.err()
}

func (c *chains) replaceChain(b *build, ref *chainRef, mistakes *buildErrors) {
	for _, attachment := range ref.message.GetAttachments() {
		id := b.instance(attachment)
		if c.instances[id] == nil && b.built[id] == nil && b.failures[id] == nil {
			mistakes.add(ref.message.GetOperation(), []error{transient.Mark(errStale)})
			return
		}
	}
	built := c.newChain(b, ref.message, mistakes)
	if built == nil {
		return
	}
	old := &replacedChain{ref.chain, ref.instances}
	c.bindChain(ref, b, built)
	c.replaced[old] = true
	c.table.Replace(built, c.grace, func() { c.gone(departure{replaced: old}) })
}

// closeReplaced closes a replaced chain whose last exchange has ended, and the instances that no other chain uses.
func (c *chains) closeReplaced(old *replacedChain) {
	delete(c.replaced, old)
	old.chain.Close()
	for _, id := range old.instances {
		c.releaseInstance(id)
	}
}
