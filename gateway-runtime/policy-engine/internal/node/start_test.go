package node

import (
	"testing"
	"testing/synctest"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

func unserved(api, reason string) *nodev1.ApiBundle {
	return &nodev1.ApiBundle{Api: api, Digest: "unserved " + reason, Context: "/" + api, Unserved: reason}
}

func (b *bench) starting(want string) {
	b.t.Helper()
	if got := b.node.Starting(); got != want {
		b.t.Errorf("expected the start to wait with %q, got %q", want, got)
	}
}

// A balancer sends a new node nothing that its controller, of the release before, has no policies for: other nodes serve it.
func TestAStartWaitsForAControllerThatHasThePolicies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.starting("it has no state yet, and waits for its controller")
		b.apply(1, some(bundle("a", "1"), unserved("b", "no policy p:v2.0.0"), unserved("c", "no policy q:v1.0.0")))
		b.starting("it has started, and does not serve the API b and 1 more yet: no policy p:v2.0.0")
		b.apply(2, some(bundle("b", "1")), "c")
		b.starting("")
		b.apply(3, some(unserved("d", "no policy p:v2.0.0")))
		b.starting("") // it has served all once: now it is one of the nodes that balancers know
		b.node.Close()
	})
}

func TestAStartWaitsForBuilds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &shelf{slow: make(chan struct{})}
		b := newBenchWith(t, &bench{t: t, envoy: newScriptedEnvoy(true), shelf: slow}, t.TempDir())
		b.apply(1, some(bundleWith("a", "1", attachment("a", `{"slow":true}`))))
		b.starting("it has started, and does not serve the API a yet: it is being built")
		close(slow.slow)
		b.run()
		b.eventually("the start is over", func() bool { return b.node.Starting() == "" })
	})
}

func TestAStartWaitsForNoRejectedAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.envoy.bad["refused|1"] = true
		b.apply(1, some(bundle("a", "1"), bundle("refused", "1"), bundleWith("panics", "1", attachment("x", `{"panic":true}`))))
		b.starting("")
		b.node.Close()
	})
}

func TestAStartWaitsTwoMinutesAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.apply(1, some(unserved("a", "no policy p:v2.0.0")))
		b.run()
		time.Sleep(119 * time.Second)
		b.starting("it has started, and does not serve the API a yet: no policy p:v2.0.0")
		time.Sleep(2 * time.Second)
		b.starting("")
	})
}

// A container that starts again with its state has served what it can: it waits for nothing.
func TestANodeWithAStateIsNotStarting(t *testing.T) {
	directory := t.TempDir()
	first := newBench(t, newScriptedEnvoy(true), directory)
	first.apply(1, some(bundle("a", "1"), unserved("b", "no policy p:v2.0.0")))
	first.node.Close()
	again := newBench(t, newScriptedEnvoy(true), directory)
	again.starting("")
	again.node.Close()
}
