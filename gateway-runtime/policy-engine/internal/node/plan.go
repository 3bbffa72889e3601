package node

import (
	"maps"
	"slices"

	"gatewright.dev/policy-engine/internal/node/controller"
	"gatewright.dev/policy-engine/internal/node/gateway"
	"gatewright.dev/policy-engine/internal/node/statedir"
	"gatewright.dev/policy-engine/internal/xds"
)

// version is one version of an API on this node.
type version struct {
	kept         *statedir.Bundle // its message
	chains       []*chainRef
	bundle       *xds.Bundle
	revision     uint64   // of the update that brought it
	acknowledged bool     // an Envoy has accepted it
	previous     *version // the acknowledged version before it, until this one is acknowledged; otherwise nil
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
	changed   []*statedir.Bundle // to be built and staged
	unchanged []*statedir.Bundle // already served
	removed   []string
}

// planOf compares an update with the running versions. An API that the update does not name stays as it is.
func planOf(now running, update *controller.PackedUpdate) plan {
	var p plan
	for _, bundle := range update.Bundles {
		if current := now[bundle.API]; current != nil && current.bundle.Digest == bundle.Digest {
			p.unchanged = append(p.unchanged, bundle)
		} else {
			p.changed = append(p.changed, bundle)
		}
	}
	p.removed = slices.Clone(update.Update.GetRemovedApis())
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
