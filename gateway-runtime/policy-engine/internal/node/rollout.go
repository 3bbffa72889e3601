package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	pending  []*version // set, but no Envoy is connected to answer; Node.confirm reports the answer
}

// rollout makes Envoy serve the versions of APIs: clusters, then the routes that name them. One goroutine calls its methods.
type rollout struct {
	envoy     Envoy
	timing    Timing
	log       *slog.Logger
	published *published // is changed with the routes that Envoy accepts
	retired   retirements
	routed    []*xds.Bundle // the bundles that Envoy's present routes were composed of; nil: Envoy has not accepted them
	front     xds.Front     // the Gateway's part of those routes
}

// target is what candidates are added to.
type target struct {
	base   running     // the versions that Envoy serves with the candidates, or in which candidates replace others
	beside running     // versions whose clusters stay as well
	queued *buildQueue // its fallbacks answer for APIs of which no version runs
	front  xds.Front   // the Gateway's part of the routes
}

// converge makes Envoy serve the target's base and as many of the candidates as it accepts. It returns within about
// Timing.Search.
func (r *rollout) converge(ctx context.Context, target target, candidates []*version, envoyTimeout time.Duration) convergence {
	search := &search{rollout: r, target: target, envoyTimeout: envoyTimeout, until: time.Now().Add(r.timing.Search)}
	try := func(group []*version) error { return search.try(ctx, group) }
	refuses := func(err error) bool { return !errors.Is(err, xds.ErrNoEnvoy) && ctx.Err() == nil }
	accepted, refused, err := bisect(candidates, try, refuses)
	converged := convergence{accepted: accepted, refused: refused}
	if err != nil {
		converged.pending = undecided(candidates, accepted, refused)
	}
	if final := slices.Concat(accepted, converged.pending); !slices.Equal(final, search.last) {
		// Envoy refused the last group that was tried, so it is sent the accepted one again.
		search.until = time.Now().Add(r.timing.Search)
		err = search.try(ctx, final)
	}
	if err != nil && refuses(err) {
		r.log.Error("Envoy has refused the state that it had before", "error", err.Error())
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
	*rollout
	target       target
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
	next := s.target.base.with(group)
	limit := s.envoyTimeout + time.Duration(len(next))*s.timing.PerBundle
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("waited %s", limit))
	defer cancel()
	err := s.envoy.SetClusters(ctx, s.clusters(next, s.target.beside))
	if errors.Is(err, xds.ErrNoAnswer) {
		s.envoyTimeout = min(s.envoyTimeout, s.timing.Probe)
		return fmt.Errorf("clusters %s: does the name of the upstream's host resolve? %w", names(group), err)
	}
	if err != nil && !errors.Is(err, xds.ErrNoEnvoy) {
		return err
	}
	bundles := bundlesOf(next, s.target.queued)
	return errors.Join(err, s.setRoutes(ctx, bundles, s.target.front))
}

// refreshRoutes sends Envoy the routes that answer for APIs of which no version runs, and the Gateway's part of the routes, where
// either has changed.
func (r *rollout) refreshRoutes(ctx context.Context, target target) {
	bundles := bundlesOf(target.base, target.queued)
	if r.routed != nil && slices.Equal(bundles, r.routed) && target.front == r.front {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.timing.Acknowledge)
	defer cancel()
	err := r.setRoutes(ctx, bundles, target.front)
	if err != nil && !errors.Is(err, xds.ErrNoEnvoy) {
		r.log.Error("Envoy did not accept the routes for APIs that are not served and for challenges", "error", err.Error())
	}
}

// setRoutes sends Envoy the routes composed of the bundles, and waits for its acknowledgement.
func (r *rollout) setRoutes(ctx context.Context, bundles []*xds.Bundle, front xds.Front) error {
	err := r.envoy.SetRoutes(ctx, xds.Compose(bundles, front))
	r.routed = nil
	if err == nil || errors.Is(err, xds.ErrNoEnvoy) {
		r.routed, r.front = bundles, front
		r.published.updateSnapshot(func(s *snapshot) { s.routed, s.front = bundles, front })
	}
	return err
}

// sweep removes the clusters that neither a running version nor an exchange needs any more, and returns when to sweep again.
func (r *rollout) sweep(ctx context.Context, now running, progressOf func(departure) progress) time.Duration {
	dropped, next := r.retired.sweep(progressOf, time.Now())
	if !dropped {
		return next
	}
	ctx, cancel := context.WithTimeout(ctx, r.timing.Acknowledge)
	defer cancel()
	if err := r.envoy.SetClusters(ctx, r.clusters(now, now)); err != nil && !errors.Is(err, xds.ErrNoEnvoy) {
		r.log.Warn("Envoy has not acknowledged the removal of old clusters", "error", err.Error())
	}
	return next
}

// clusters returns the clusters of next, of the versions beside it, and of the retired versions that exchanges may still use.
func (r *rollout) clusters(next, beside running) xds.Resources {
	clusters := r.retired.clusters()
	bundles := make([]*xds.Bundle, 0, len(beside)+len(next))
	for _, current := range beside {
		for v := current; v != nil; v = v.previous {
			bundles = append(bundles, v.bundle)
		}
	}
	maps.Copy(clusters, xds.Clusters(append(bundles, next.bundles()...))) // last: next's cluster wins where several have its name
	return clusters
}

// bundlesOf returns the bundles for Envoy: those of the versions, and the fallbacks of queued APIs outside of their contexts.
func bundlesOf(versions running, queued *buildQueue) []*xds.Bundle {
	return append(versions.bundles(), queued.Fallbacks(func(api, context string) bool {
		v := versions[api]
		return v != nil && v.bundle.Covers(context)
	})...)
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
