//go:build inenvoy

package main

import (
	"log/slog"
	"os"
	"runtime"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/dynmodule"
	"gatewright.dev/policy-engine/internal/dynmodule/binding"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/extproc"
)

func init() { binding.Serve(&host{}) }

// host runs the chains of policies.go, whose ids are the names in this file.
type host struct {
	module   *dynmodule.Module
	counters *exchange.Counters
}

func (h *host) Start([]byte, int) (*dynmodule.Module, error) {
	runtime.GOMAXPROCS(4)
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	table := &chain.Table{}
	h.counters = exchange.NewCounters(slog.New(slog.DiscardHandler)) // panics on purpose are not logged
	for id, policy := range h.policies() {
		instance := chain.NewInstance(id, id+":v1.0.0", policy.policy, chain.Settings{Mode: policy.mode})
		c, err := chain.New(chain.Spec{ID: id, Context: "/", Instances: []*chain.Instance{instance}, Observer: h.counters})
		if err != nil {
			return nil, err
		}
		table.Put(c)
	}
	h.module = dynmodule.New(extproc.NewServer(exchange.NewServer(table, nil, h.counters, nil), nil, log), binding.Envoy{}, log)
	return h.module, nil
}

func (*host) Stop() {}
