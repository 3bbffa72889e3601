package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gatewright.dev/policy-engine/internal/xds"
)

// convergence is the outcome of offering candidates to Envoy.
type convergence struct {
	accepted []*version
	refused  []refusal[*version]
	pending  []*version // set, but no Envoy is connected to answer; confirm reports the answer
}

// converge makes Envoy serve base and as many of the candidates as it accepts, in place of or beside base. The clusters of the
// versions in beside stay as well. It returns within about Timing.Search.
func (n *Node) converge(ctx context.Context, base, beside running, candidates []*version, envoyTimeout time.Duration) convergence {
	search := &search{node: n, base: base, beside: beside, envoyTimeout: envoyTimeout, until: time.Now().Add(n.timing.Search)}
	try := func(group []*version) error { return search.try(ctx, group) }
	refuses := func(err error) bool { return !errors.Is(err, xds.ErrNoEnvoy) && ctx.Err() == nil }
	accepted, refused, err := bisect(candidates, try, refuses)
	converged := convergence{accepted: accepted, refused: refused}
	if err != nil {
		converged.pending = undecided(candidates, accepted, refused)
	}
	if final := slices.Concat(accepted, converged.pending); !slices.Equal(final, search.last) {
		// Envoy refused the last group that was tried, so it is sent the accepted one again.
		search.until = time.Now().Add(n.timing.Search)
		err = search.try(ctx, final)
	}
	if err != nil && refuses(err) {
		n.log.Error("Envoy has refused the state that it had before", "error", err.Error())
	}
	return converged
}

func undecided(candidates, accepted []*version, refused []refusal[*version]) []*version {
	return slices.DeleteFunc(slices.Clone(candidates), func(c *version) bool {
		return slices.Contains(accepted, c) ||
			slices.ContainsFunc(refused, func(r refusal[*version]) bool { return r.candidate == c })
	})
}

// search is the state of one call of converge.
type search struct {
	node         *Node
	base         running
	beside       running
	envoyTimeout time.Duration
	until        time.Time
	last         []*version // the group of the last try that reached Envoy
}

// try sends Envoy clusters, then routes, and waits for its acknowledgement of each. Without an Envoy both are set all the same, for
// the next one that connects.
func (s *search) try(ctx context.Context, group []*version) error {
	if time.Now().After(s.until) {
		return fmt.Errorf("%w: the search for the bundle that Envoy does not answer to took too long", xds.ErrNoAnswer)
	}
	s.last = group
	next := s.base.with(group)
	limit := s.envoyTimeout + time.Duration(len(next))*s.node.timing.PerBundle
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("waited %s", limit))
	defer cancel()
	clusters := s.node.clusters(next, s.beside)
	err := s.node.options.Envoy.SetClusters(ctx, clusters)
	if errors.Is(err, xds.ErrNoAnswer) {
		s.envoyTimeout = min(s.envoyTimeout, s.node.timing.Probe)
		return fmt.Errorf("clusters %s: does the name of the upstream's host resolve? %w", names(group), err)
	}
	if err != nil && !errors.Is(err, xds.ErrNoEnvoy) {
		return err
	}
	bundles := bundlesOf(next, s.node.queue)
	front := s.node.gateway.Front()
	config, composeErr := xds.Compose(bundles, front)
	if composeErr != nil {
		return composeErr
	}
	return errors.Join(err, s.node.setRoutes(ctx, bundles, config, front))
}

// setRoutes sends Envoy the routes composed of the bundles, and waits for its acknowledgement.
func (n *Node) setRoutes(ctx context.Context, bundles []*xds.Bundle, config xds.Resource, front xds.Front) error {
	err := n.options.Envoy.SetRoutes(ctx, config)
	n.routed = nil
	if err == nil || errors.Is(err, xds.ErrNoEnvoy) {
		n.routed, n.front = bundles, front
		n.routesInUse.Store(&routesInUse{bundles, front})
	}
	return err
}

// clusters returns the clusters of next, of the versions beside it, and of the retired versions that exchanges may still use.
func (n *Node) clusters(next, beside running) xds.Resources {
	clusters := xds.Resources{}
	for _, old := range n.retired {
		maps.Copy(clusters, old.clusters)
	}
	for _, current := range beside {
		for v := current; v != nil; v = v.previous {
			maps.Copy(clusters, v.bundle.Clusters)
		}
	}
	maps.Copy(clusters, xds.Clusters(next.bundles())) // last: next's cluster wins where several have its name
	return clusters
}

// bundlesOf returns the bundles for Envoy: those of the versions, and the fallbacks of queued APIs outside of their contexts.
func bundlesOf(versions running, queued *buildQueue) []*xds.Bundle {
	return append(versions.bundles(), queued.Fallbacks(func(api, context string) bool {
		v := versions[api]
		return v != nil && v.bundle.Covers(context)
	})...)
}

// setFallbackRoutes sends Envoy the routes that answer for APIs of which no version runs, and the Gateway's part of the routes,
// where either has changed.
func (n *Node) setFallbackRoutes(ctx context.Context) {
	bundles := bundlesOf(n.running, n.queue)
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

func names(group []*version) string {
	clusters := map[string]bool{} // a set: APIs share clusters
	for _, candidate := range group {
		for name := range candidate.bundle.Clusters {
			clusters[name] = true
		}
	}
	sorted := slices.Sorted(maps.Keys(clusters))
	if len(sorted) > 5 {
		return fmt.Sprintf("%s and %d more", strings.Join(sorted[:5], ", "), len(sorted)-5)
	}
	return strings.Join(sorted, ", ")
}
