package node

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
)

// headersFront is a front end for chains that want request headers alone.
type headersFront struct{ chain.FrontEnd }

func (headersFront) Request() chain.Head                              { return chain.Head{Method: "GET", Path: "/", Ended: true} }
func (headersFront) SendHeaders(chain.Direction, chain.Changes) error { return nil }

// executeIn lets one exchange pass a chain.
func (b *bench) executeIn(id string) {
	b.t.Helper()
	c, ok := b.table.Acquire(chainID(id))
	if !ok {
		b.t.Fatalf("chain %s is not in the table", id)
	}
	defer c.Release()
	if err := c.Run(context.Background(), headersFront{}, nil, nil); err != nil {
		b.t.Fatal(err)
	}
}

// ofOneOperation is a bundle whose operation is the same in all its versions, with another chain and instance in each.
func ofOneOperation(digest string) *nodev1.ApiBundle {
	message := bundle("a", digest)
	message.Chains[0].Operation = "GET /"
	return message
}

func TestCountersOutliveAnEditAndGoWithTheirAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counters := exchange.NewCounters(quiet)
		b := newBenchWith(t, &bench{t: t, envoy: newScriptedEnvoy(true), shelf: &shelf{}, observer: counters}, t.TempDir())
		counted := func() (executions []uint64) {
			for _, stats := range counters.ExecutionStats() {
				executions = append(executions, stats.Executions)
			}
			return executions
		}
		b.envoy.bad["a|3"] = true
		b.apply(1, some(ofOneOperation("1")))
		b.executeIn("a1")
		b.apply(2, some(ofOneOperation("2")))
		b.executeIn("a2")
		b.run()
		b.eventually("the first version's instance is closed", func() bool { open, _ := b.shelf.counts(); return open == 1 })
		b.executeIn("a2")
		if got := counted(); !slices.Equal(got, []uint64{3}) {
			t.Errorf("expected one counter of three executions, got %v", got)
		}
		b.node.inbox.Add(&nodev1.Update{Revision: 3, Bundles: some(ofOneOperation("3"))})
		time.Sleep(time.Second)
		if got := counted(); !slices.Equal(got, []uint64{3}) {
			t.Errorf("expected a version that is rejected to change nothing, got %v", got)
		}
		held, _ := b.table.Acquire(chainID("a2"))
		b.node.inbox.Add(&nodev1.Update{Revision: 4, RemovedApis: []string{"a"}})
		time.Sleep(time.Minute)
		if got := counted(); !slices.Equal(got, []uint64{3}) {
			t.Errorf("expected the counter to stay while an exchange is in the chain, got %v", got)
		}
		held.Release()
		b.eventually("the counters are gone", func() bool { return len(counted()) == 0 })
	})
}
