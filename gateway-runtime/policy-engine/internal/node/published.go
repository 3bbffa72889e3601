package node

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/certificates"
	"gatewright.dev/policy-engine/internal/node/gateway"
	"gatewright.dev/policy-engine/internal/node/queue"
	"gatewright.dev/policy-engine/internal/node/statedir"
	"gatewright.dev/policy-engine/internal/xds"
)

// published is the part of a node's state that other goroutines read: a snapshot that the node's own goroutine replaces. Its
// exported methods may be called from any goroutine.
type published struct{ snapshot atomic.Pointer[snapshot] }

// snapshot is never changed, nor is anything that it refers to.
type snapshot struct {
	updates      uint64           // all that the node was sent
	revision     uint64           // of the last update that was applied
	hasState     bool             // a state was restored, or an update was applied
	starting     string           // why the start is not over; "": it is, once there is a state
	origin       *statedir.Origin // nil: a controller has sent the state, or there is none
	noState      string           // why no place has a state to start from; "": one has, or a controller has answered
	gateway      gateway.View
	adminAddress string              // of the admin listener; "": none
	refs         []*nodev1.BundleRef // for the next hello
	served       int                 // APIs
	pending      int                 // as these are
	unserved     int
	unrotated    int                 // APIs that cannot use a changed secret
	notReady     *nodev1.Report      // of APIs that are not ready; nil: all are
	obstacles    map[string]Obstacle // of APIs that are queued
	running      []*xds.Bundle
	routed       []*xds.Bundle // the bundles of the routes that Envoy has accepted last
	front        xds.Front     // the Gateway's part of these routes
}

func newPublished() *published {
	p := &published{}
	p.snapshot.Store(&snapshot{})
	return p
}

// updateSnapshot replaces the snapshot by an edited copy. Only the node's own goroutine may call it.
func (p *published) updateSnapshot(edit func(*snapshot)) {
	next := *p.snapshot.Load()
	edit(&next)
	p.snapshot.Store(&next)
}

// setAdminAddress sets the address of the admin listener, and reports whether it has changed.
func (p *published) setAdminAddress(address string) (changed bool) {
	changed = address != p.snapshot.Load().adminAddress
	p.updateSnapshot(func(s *snapshot) { s.adminAddress = address })
	return changed
}

// Obstacle is the reason why the newest version of an API does not run.
type Obstacle = queue.Obstacle

// Obstacle returns why the newest version of an API does not run.
func (p *published) Obstacle(api string) Obstacle { return p.snapshot.Load().obstacles[api] }

// Starting is why the node does not serve all that it is to serve since it has started; "": it does, or it has waited for
// long enough. A node that has restored a state does not wait.
func (p *published) Starting() string {
	now := p.snapshot.Load()
	if !now.hasState {
		return noStateYet
	}
	return now.starting
}

// Unresolved returns the upstream name of each API whose newest version does not run because that name does not resolve.
func (p *published) Unresolved() map[string]string {
	names := map[string]string{}
	for api, obstacle := range p.snapshot.Load().obstacles {
		if obstacle.Unresolved != "" {
			names[api] = obstacle.Unresolved
		}
	}
	return names
}

// Clusters returns the names of Envoy's clusters that each running API uses, sorted; APIs share them.
func (p *published) Clusters() map[string][]string {
	inUse := map[string][]string{}
	for _, bundle := range p.snapshot.Load().running {
		inUse[bundle.API] = slices.Sorted(maps.Keys(bundle.Clusters))
	}
	return inUse
}

// Near returns the APIs and operations nearest to a request that has matched no route of the listener.
func (p *published) Near(listener, authority, path string) xds.Near {
	now := p.snapshot.Load()
	return xds.NearTo(now.routed, now.front, listener, authority, path)
}

// bundleRefs returns the APIs as a hello names them, sorted, and how many of them an Envoy serves.
func bundleRefs(versions running, unserved map[string]*statedir.Bundle, queued map[string]Obstacle) (refs []*nodev1.BundleRef, served int) {
	refs = make([]*nodev1.BundleRef, 0, len(versions))
	made := make([]nodev1.BundleRef, len(versions)) // in one piece: this is done with each change
	for api, v := range versions {
		_, isQueued := queued[api]
		ref := &made[len(refs)]
		ref.Api, ref.Unsettled = api, !v.acknowledged || isQueued || unserved[api] != nil
		if good := v.lastGood(); good != nil {
			ref.Digest = good.bundle.Digest
			served++
		}
		refs = append(refs, ref)
	}
	for api := range unserved {
		if versions[api] == nil {
			refs = append(refs, &nodev1.BundleRef{Api: api, Unsettled: true})
		}
	}
	for api := range queued {
		if versions[api] == nil && unserved[api] == nil {
			refs = append(refs, &nodev1.BundleRef{Api: api, Unsettled: true})
		}
	}
	slices.SortFunc(refs, func(a, b *nodev1.BundleRef) int { return strings.Compare(a.GetApi(), b.GetApi()) })
	return refs, served
}

// Stats are a node's counters for the admin endpoint.
type Stats struct {
	ControllerConnected bool    `json:"controllerConnected"`
	ControllerRefusal   string  `json:"controllerRefusal"` // why the controller and this node do not accept each other; "": they do, or that is not known
	Revision            uint64  `json:"revision"`          // of the last update that was applied
	APIs                int     `json:"apis"`              // served, acknowledged by Envoy
	Pending             int     `json:"pending"`           // APIs with a version that waits to be tried, or tried again
	Unserved            int     `json:"unserved"`          // APIs of which not even the last good version came up
	Updates             uint64  `json:"updates"`
	Applied             uint64  `json:"applied"`
	Rejected            uint64  `json:"rejected"`
	Origin              *Origin `json:"origin"`  // where the state is from, while no controller has answered
	NoState             string  `json:"noState"` // why no place has a state to start from, while no controller has answered

	StateErrors uint64 `json:"stateErrors"` // writes to the state directory that failed

	Gateway      GatewayStats                     `json:"gateway"`
	Certificates map[string]certificates.Warnings `json:"certificates"` // the Gateway's readable certificates: when they expire
	Secrets      SecretStats                      `json:"secrets"`
}

// SecretStats count the secrets that APIs name, and those that cannot be used; instances built with an earlier value go on.
type SecretStats struct {
	InUse        int `json:"inUse"`
	FailingFiles int `json:"failingFiles"` // secrets whose file, or whose value of the controller, is not there or cannot be read
	FailingAPIs  int `json:"failingApis"`  // APIs with a policy that cannot use a changed secret
}

// Origin says where a node's state is from, if no controller has sent it.
type Origin = statedir.Origin

// GatewayStats describe the node's Gateway.
type GatewayStats = gateway.Stats

// FailingFile is a certificate or an authority whose files cannot be used.
type FailingFile = gateway.FailingFile

// Stats returns the counters as they are now. It may be called from any goroutine.
func (n *Node) Stats() Stats {
	now, files := n.snapshot.Load(), n.secrets.Stats()
	return Stats{
		ControllerConnected: n.client.Connected(), ControllerRefusal: n.client.Refusal(), Revision: now.revision,
		APIs: now.served, Pending: now.pending, Unserved: now.unserved,
		Updates: now.updates, Applied: n.reporter.applied.Load(), Rejected: n.reporter.rejected.Load(),
		Origin: now.origin, NoState: now.noState,
		StateErrors: n.state.FailedWrites(), Gateway: now.gateway.Stats, Certificates: now.gateway.Expiries,
		Secrets: SecretStats{InUse: files.InUse, FailingFiles: files.Failing, FailingAPIs: now.unrotated},
	}
}
