package node

import (
	"maps"
	"slices"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/gateway"
	"gatewright.dev/policy-engine/internal/node/statedir"
	"gatewright.dev/policy-engine/internal/xds"
)

// version is one version of an API on this node.
type version struct {
	message      *nodev1.ApiBundle // its outline
	kept         *statedir.Bundle  // all of it
	bundle       *xds.Bundle
	revision     uint64   // of the update that brought it
	acknowledged bool     // an Envoy has accepted it
	previous     *version // the acknowledged version before it, until this one is acknowledged; otherwise nil
}

// outlineOf returns what the bundle of a version is asked for: its names, its places, and the names of its chains. Thousands of
// decoded bundles would be most of what the engine's memory holds.
func outlineOf(message *nodev1.ApiBundle) *nodev1.ApiBundle {
	outline := &nodev1.ApiBundle{Api: message.GetApi(), Digest: message.GetDigest(), Context: message.GetContext(), Version: message.GetVersion(),
		Hosts: message.GetHosts(), Listeners: message.GetListeners(), AttachedTo: message.GetAttachedTo(), Chains: make([]*nodev1.Chain, 0, len(message.GetChains()))}
	for _, chain := range message.GetChains() {
		outline.Chains = append(outline.Chains, &nodev1.Chain{Id: chain.GetId(), Operation: chain.GetOperation()})
	}
	if table := message.GetOperations(); table != nil {
		outline.Operations = &nodev1.OperationTable{Id: table.GetId()}
	}
	return outline
}

// lastGood returns the newest version that an Envoy has accepted, or nil.
func (v *version) lastGood() *version {
	if v.acknowledged {
		return v
	}
	return v.previous
}

// secrets returns the names of secrets that this version uses, or the previous one if a rollback is possible; sorted.
func (v *version) secrets() []string {
	if v.previous == nil {
		return v.bundle.Secrets
	}
	names := slices.Concat(v.bundle.Secrets, v.previous.bundle.Secrets)
	slices.Sort(names)
	return slices.Compact(names)
}

// running are the versions that Envoy should serve, by API.
type running map[string]*version

// plan lists the changes of an update.
type plan struct {
	changed   []*nodev1.ApiBundle // to be built and staged
	unchanged []*nodev1.ApiBundle // already served
	removed   []string
}

// planOf compares an update with the running versions. An API that the update does not name stays as it is.
func planOf(now running, update *nodev1.Update) plan {
	var p plan
	for _, bundle := range update.GetBundles() {
		if current := now[bundle.GetApi()]; current != nil && current.bundle.Digest == bundle.GetDigest() {
			p.unchanged = append(p.unchanged, bundle)
		} else {
			p.changed = append(p.changed, bundle)
		}
	}
	p.removed = slices.Clone(update.GetRemovedApis())
	return p
}

// with returns a copy in which the candidates replace their APIs' other versions.
func (r running) with(candidates []*version) running {
	next := maps.Clone(r)
	for _, candidate := range candidates {
		next[candidate.bundle.API] = candidate
	}
	return next
}

func (r running) bundles() []*xds.Bundle {
	bundles := make([]*xds.Bundle, 0, len(r))
	for _, api := range slices.Sorted(maps.Keys(r)) {
		bundles = append(bundles, r[api].bundle)
	}
	return bundles
}

// secretUses returns the secrets that the versions' upstreams name, by API.
func (r running) secretUses() (uses []gateway.Use) {
	for _, api := range slices.Sorted(maps.Keys(r)) {
		for _, name := range r[api].secrets() {
			uses = append(uses, gateway.Use{API: api, Secret: name})
		}
	}
	return uses
}

// lastGood returns the state to store: of each API, the version that an Envoy has accepted.
func (r running) lastGood() (revision uint64, bundles []*statedir.Bundle) {
	for _, current := range r {
		if good := current.lastGood(); good != nil {
			bundles, revision = append(bundles, good.kept), max(revision, good.revision)
		}
	}
	return revision, bundles
}
