package node

import (
	"iter"
	"slices"
	"strings"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/node/rotation"
	"gatewright.dev/policy-engine/internal/node/statedir"
	"gatewright.dev/policy-engine/internal/node/transient"
	"gatewright.dev/policy-engine/internal/secrets"
)

// rotationBuild is a finished build of a rotation.
type rotationBuild struct {
	of    rotation.Version
	build *build
}

// rotate starts to build the chains whose secrets have changed, or whose policies have moved to another executor group.
func (n *Node) rotate(now time.Time) {
	for _, of := range n.rotations.Due(now) {
		stale := n.chains.staleChains(of)
		if len(stale.GetChains()) == 0 {
			n.rotations.Drop(of)
			continue
		}
		n.rotations.Begin(of)
		n.chains.startRotation(stale, func(b *build) {
			if !deliver(n.background, n.background.rotated, rotationBuild{of, b}) {
				n.chains.discard(b)
			}
		})
	}
	n.updateSnapshot(func(s *snapshot) { s.unrotated = n.rotations.Failing() })
}

// finishRotation replaces chains with those of a rotation's build. A failed build is tried again; meanwhile its chains go on
// with the earlier secrets.
func (n *Node) finishRotation(done rotationBuild, now time.Time) {
	api := done.of.API
	switch result := n.rotations.End(done.of, n.chains.replace(done.build), now); {
	case result.Done && result.Moved:
		n.log.Info("policies run in the executor groups that they have moved to", "api", api)
	case result.Done:
		n.log.Info("policies use the secrets that have changed", "api", api)
	case result.Reason != "" && result.Moved:
		n.log.Error("policies cannot be prepared in the executor group that they have moved to; this is tried again", "api", api, "reason", result.Reason)
	case result.Reason != "":
		n.log.Error("policies cannot use a secret that has changed; they go on with its previous value, and this is tried again", "api", api, "reason", result.Reason)
	}
	n.rotate(now)
}

// usedSecrets returns the secrets that chains, queued APIs or last good versions that did not come up name.
func (n *Node) usedSecrets() map[secrets.Ref]bool {
	used := map[secrets.Ref]bool{}
	for _, ref := range n.chains.refs {
		for _, secret := range ref.secrets {
			used[secret] = true
		}
	}
	for _, secret := range n.queue.Secrets() {
		used[secret] = true
	}
	n.unservedSecrets = secretsOfKept(n.unserved, n.unservedSecrets)
	for _, refs := range n.unservedSecrets {
		for _, secret := range refs {
			used[secret] = true
		}
	}
	return used
}

// secretsOfKept returns the secrets that kept bundles name. It reads only the bundles that are not among the known ones.
func secretsOfKept(kept map[string]*statedir.Bundle, known map[*statedir.Bundle][]secrets.Ref) map[*statedir.Bundle][]secrets.Ref {
	named := make(map[*statedir.Bundle][]secrets.Ref, len(kept))
	for _, bundle := range kept {
		refs, isKnown := known[bundle]
		if !isKnown {
			if message, err := bundle.Message(); err == nil { // otherwise it cannot be built either
				refs = secretsOf(message)
			}
		}
		named[bundle] = refs
	}
	return named
}

// withSecrets returns the versions whose chains use secrets.
func (c *chains) withSecrets() (versions []rotation.Version) {
	for _, ref := range c.refs {
		if len(ref.secrets) > 0 {
			versions = append(versions, ref.of())
		}
	}
	return versions
}

// moved returns the versions in use with a policy that has moved to another executor group.
func (c *chains) moved() (versions []rotation.Version) {
	for ref, message := range c.inUse(func(*chainRef) bool { return true }) {
		if !c.isCurrent(ref, message) {
			versions = append(versions, ref.of())
		}
	}
	return versions
}

// rotatable returns the version of a bundle if its chains use secrets, or policies of theirs have moved: either may have changed
// since the bundle's build began.
func (c *chains) rotatable(message *nodev1.ApiBundle) (versions []rotation.Version) {
	for _, chain := range message.GetChains() {
		if ref := c.refs[chain.GetId()]; ref != nil && (len(ref.secrets) > 0 || !c.isCurrent(ref, chain)) {
			versions = append(versions, ref.of())
		}
	}
	return versions
}

// staleChains returns the chains in use that would be built with other secrets or in another executor group now, as a
// bundle of these alone.
func (c *chains) staleChains(of rotation.Version) *nodev1.ApiBundle {
	bundle := &nodev1.ApiBundle{Api: of.API, Version: of.Version, Context: of.Context}
	for ref, message := range c.inUse(func(ref *chainRef) bool { return ref.of() == of }) {
		if !c.isCurrent(ref, message) {
			bundle.StrictPaths = ref.chain.StrictPaths()
			bundle.Chains = append(bundle.Chains, message)
		}
	}
	slices.SortFunc(bundle.Chains, func(a, b *nodev1.Chain) int { return strings.Compare(a.GetId(), b.GetId()) })
	return bundle
}

// inUse yields the chains in use that are wanted, with their messages. It reads each kept bundle once.
func (c *chains) inUse(isWanted func(*chainRef) bool) iter.Seq2[*chainRef, *nodev1.Chain] {
	byBundle := map[*statedir.Bundle][]*chainRef{}
	for _, ref := range c.refs {
		if ref.bundles > 0 && isWanted(ref) {
			byBundle[ref.kept] = append(byBundle[ref.kept], ref)
		}
	}
	return func(yield func(*chainRef, *nodev1.Chain) bool) {
		for kept, refs := range byBundle {
			bundle, err := kept.Message()
			if err != nil {
				c.log.Error("chains stay as they are", "api", kept.API, "error", err.Error())
				continue
			}
			for _, ref := range refs {
				at := slices.IndexFunc(bundle.GetChains(), func(chain *nodev1.Chain) bool { return chain.GetId() == ref.chain.ID() })
				if !yield(ref, bundle.GetChains()[at]) {
					return
				}
			}
		}
	}
}

// isCurrent reports whether a chain would be built of the same instances now.
func (c *chains) isCurrent(ref *chainRef, message *nodev1.Chain) bool {
	for i, attachment := range message.GetAttachments() {
		bound, err := c.binder.bind(ref.of().API, attachment)
		if err == nil && bound.instance != ref.chain.Instances()[i].ID() {
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
			c.replaceChain(b, ref, message, &mistakes)
		}
	}
	for id, instance := range b.built {
		if ref := c.instances[id]; ref == nil || ref.built != instance {
			c.closeInstance(instance)
		}
	}
	return mistakes.err()
}

func (c *chains) replaceChain(b *build, ref *chainRef, message *nodev1.Chain, mistakes *buildErrors) {
	for _, attachment := range message.GetAttachments() {
		id := b.instance(attachment)
		if c.instances[id] == nil && b.built[id] == nil && b.failures[id] == nil {
			mistakes.add(message.GetOperation(), []error{transient.Mark(errStale)})
			return
		}
	}
	built := c.newChain(b, message, mistakes)
	if built == nil {
		return
	}
	old := ref.chain
	c.bindChain(ref, b, message, built)
	c.replaced[old] = true
	c.table.Replace(built, c.grace, func() { c.gone(departure{replaced: old}) })
}

// closeReplaced closes a replaced chain whose last exchange has ended, and the instances that no other chain uses.
func (c *chains) closeReplaced(old *chain.Chain) {
	delete(c.replaced, old)
	old.Close()
	c.releaseInstances(old)
}
