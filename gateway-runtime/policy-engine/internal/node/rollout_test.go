package node

import (
	"testing"
	"testing/synctest"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/queue"
	"gatewright.dev/policy-engine/internal/xds"
)

func newRollout(envoy Envoy) *rollout {
	timing := Timing{}.withDefaults()
	return &rollout{envoy: envoy, timing: timing, log: quiet, published: newPublished(), retired: retirements{grace: timing.Grace, held: timing.Held}}
}

func versionOf(t *testing.T, message *nodev1.ApiBundle) *version {
	t.Helper()
	parsed, err := xds.ParseBundle(message, xds.ExtProc)
	if err != nil {
		t.Fatal(err)
	}
	return &version{bundle: parsed}
}

func targetOf(base running) target {
	return target{base: base, beside: base, queued: queue.New[*build](Timing{}.withDefaults().retry(), time.Minute)}
}

func apisOf(versions []*version) (apis []string) {
	for _, v := range versions {
		apis = append(apis, v.bundle.API)
	}
	return apis
}

func TestARolloutAcceptsWhatEnvoyDoesAndPublishesItsRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		envoy := newScriptedEnvoy(true)
		envoy.bad["b|2"] = true
		r := newRollout(envoy)
		base := running{"a": versionOf(t, bundle("a", "1"))}
		converged := r.converge(t.Context(), targetOf(base), []*version{versionOf(t, bundle("b", "2")), versionOf(t, bundle("c", "1"))}, time.Second)
		equal(t, "accepted", apisOf(converged.accepted), "c")
		if len(converged.refused) != 1 || converged.refused[0].candidate.bundle.API != "b" || len(converged.pending) != 0 {
			t.Errorf("expected b to be refused, got %+v", converged)
		}
		equal(t, "transcript", envoy.drainTranscript(),
			"clusters a|1 b|2 c|1: yes", "routes a|1 b|2 c|1: no",
			"clusters a|1 b|2: yes", "routes a|1 b|2: no",
			"clusters a|1 c|1: yes", "routes a|1 c|1: yes")
		if near := r.published.Near("http", "example.com", "/c/x"); len(r.published.snapshot.Load().routed) != 2 || near.Reason == (xds.Near{}).Reason {
			t.Errorf("expected the routes of a and c to be known, got %+v", near)
		}
	})
}

func TestWithoutAnEnvoyCandidatesArePending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		converged := newRollout(newScriptedEnvoy(false)).converge(t.Context(), targetOf(running{}),
			[]*version{versionOf(t, bundle("a", "1")), versionOf(t, bundle("b", "1"))}, time.Second)
		equal(t, "pending", apisOf(converged.pending), "a", "b")
	})
}

func TestRoutesAreSentAgainOnlyIfTheyDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		envoy := newScriptedEnvoy(true)
		r, target := newRollout(envoy), targetOf(running{"a": versionOf(t, bundle("a", "1"))})
		r.refreshRoutes(t.Context(), target)
		r.refreshRoutes(t.Context(), target)
		equal(t, "once", envoy.drainTranscript(), "routes a|1: yes")
		target.queued.Put(bundle("b", "1"), 1, nil)
		r.refreshRoutes(t.Context(), target)
		equal(t, "with a fallback", envoy.drainTranscript(), "routes a|1: yes")
		equal(t, "answers 503 for", envoy.answersFor(), "b")
	})
}

func TestClustersOfRetiredVersionsGoWithTheSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		envoy := newScriptedEnvoy(true)
		r := newRollout(envoy)
		r.retired.add(versionOf(t, bundle("a", "1")), []departure{{chain: chainID("a1")}}, time.Now())
		now, hasDeparted := running{"a": versionOf(t, bundle("a", "2"))}, func(departure) progress { return departed }
		if wait := r.sweep(t.Context(), now, hasDeparted); wait != 30*time.Second {
			t.Errorf("expected to sweep again after the grace, got %s", wait)
		}
		equal(t, "before", envoy.drainTranscript())
		time.Sleep(30 * time.Second)
		r.sweep(t.Context(), now, hasDeparted)
		equal(t, "after", envoy.drainTranscript(), "clusters a|2: yes")
	})
}
