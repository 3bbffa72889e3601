package chain_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

// holds is the instance of a policy that has the exchange hold a lease from its request on.
func (t *transcript) holds(letters string) *chain.Instance {
	return t.policy(&does{name: "holds", request: func(req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
		req.Metadata.Lease("key", leases{t}.take)
		return nil, nil
	}}, letters)
}

// releases counts the releases of the lease, and notes whether one was the last event.
func (t *transcript) releases() (count int, last bool) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	for _, line := range t.lines {
		if line == "release" {
			count++
		}
	}
	return count, len(t.lines) > 0 && t.lines[len(t.lines)-1] == "release"
}

// TestALeaseEndsOnceHoweverTheExchangeDoes: policies that count concurrent exchanges rely on it.
func TestALeaseEndsOnceHoweverTheExchangeDoes(t *testing.T) {
	cancelled := errors.New("cancelled")
	away := func(at string) func(*transcript) {
		return func(x *transcript) {
			x.waits = func(_ context.Context, what string) error {
				if what == at {
					return cancelled
				}
				return nil
			}
		}
	}
	fails := func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) { panic("behind") }
	for name, test := range map[string]struct {
		exchange *transcript
		change   func(*transcript)
		behind   func(*transcript) *chain.Instance
		modes    string // of the policy that holds; "": headers of both
		fails    bool   // the exchange cannot go on
	}{
		"a response": {exchange: get()},
		"a body":     {exchange: post("a", "b").answers("c", "d")},
		"a body that policies read": {exchange: post("a", "b").answers("c", "d"), behind: func(x *transcript) *chain.Instance {
			return x.marks("behind", "bB")
		}},
		"a body that policies stream": {exchange: post("a", "b").answers("c", "d").inTurn(), behind: func(x *transcript) *chain.Instance {
			return x.streams("guarded", "behind", "sS", wraps)
		}},
		"no response phase in the chain": {exchange: get(), modes: "h"},
		"an answer of a policy behind it": {exchange: get(), behind: func(x *transcript) *chain.Instance {
			return x.onRequest("behind", "h", &v1alpha.ImmediateResponse{StatusCode: 403}, nil)
		}},
		"an answer instead of the response": {exchange: get(), behind: func(x *transcript) *chain.Instance {
			return x.onResponse("behind", "H", &v1alpha.ImmediateResponse{StatusCode: 502}, nil)
		}},
		"a failure of a policy behind it": {exchange: get(), behind: func(x *transcript) *chain.Instance {
			return x.onRequest("behind", "h", nil, errors.New("failed"))
		}},
		"a panic of a policy behind it": {exchange: get(), behind: func(x *transcript) *chain.Instance {
			return x.policy(&does{name: "behind", request: fails}, "h")
		}},
		"an answer of the proxy's before the body has come": {
			exchange: post("a", "b"), change: func(x *transcript) { x.respondsAfter = 1 },
			behind: func(x *transcript) *chain.Instance { return x.marks("behind", "b") },
		},
		"a client that leaves while upstream is asked": {exchange: get(), change: away("response"), fails: true},
		"a client that leaves in its request's body": {
			exchange: post("a", "b"), change: away("request 1"), fails: true,
			behind: func(x *transcript) *chain.Instance { return x.marks("behind", "b") },
		},
		"an upstream that breaks off in the response's body": {
			exchange: get().answers("a", "b"), change: away("response 1"), fails: true,
			behind: func(x *transcript) *chain.Instance { return x.marks("behind", "B") },
		},
		"the same of a stream": {
			exchange: get().answers("a", "b"), change: away("response 1"), fails: true,
			behind: func(x *transcript) *chain.Instance { return x.streams("guarded", "behind", "S", wraps) },
		},
		"a proxy that takes nothing any more": {exchange: get(), change: func(x *transcript) { x.broken = true }, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			x := test.exchange
			if test.change != nil {
				test.change(x)
			}
			instances := []*chain.Instance{x.holds(cmp.Or(test.modes, "hH"))}
			if test.behind != nil {
				instances = append(instances, test.behind(x))
			}
			if err := x.run(t, instances...); (err != nil) != test.fails {
				t.Errorf("expected the exchange to fail: %t, got %v", test.fails, err)
			}
			if count, last := x.releases(); count != 1 || !last || !slices.Contains(x.lines, "lease") {
				t.Errorf("expected one release, at the end, got %q", x.lines)
			}
		})
	}
}

// TestALeaseOfALateHookEndsAtOnce: the policy has been answered for, and the exchange is over.
func TestALeaseOfALateHookEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := get()
		late := lateLeases{leases{x}}
		if err := x.run(t, chain.NewInstance("i", "late:v1.0.0", late, chain.Settings{Mode: modes("h"), Timeout: time.Second})); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if count, last := x.releases(); count != 1 || !last {
			t.Errorf("expected one release, got %q", x.lines)
		}
	})
}

// lateLeases takes its lease long after its timeout.
type lateLeases struct{ leases }

func (l lateLeases) OnRequest(ctx context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	time.Sleep(30 * time.Second)
	return l.leases.OnRequest(ctx, req)
}
