package pythonbridge

import (
	"slices"
	"sync"
	"sync/atomic"

	"gatewright.dev/sdk/policy/v1alpha"
)

// generation is one build's Python side and the executor processes, of all groups, that run it. Processes of a group
// that a build has not changed run the earlier and the later generation alike. An exchange stays with the generation
// that was current at the call of its first Python policy.
type generation struct {
	number    uint64
	exchanges atomic.Int64 // exchanges of the generation that have not ended
}

// Release ends an exchange's use of the generation.
func (g *generation) Release() { g.exchanges.Add(-1) }

// generations are the current generation, and the earlier ones that exchanges may still belong to.
type generations struct {
	current atomic.Pointer[generation]

	mu   sync.Mutex
	past []*generation
}

func newGenerations(number uint64) *generations {
	all := &generations{}
	all.current.Store(&generation{number: number})
	return all
}

// ofExchange returns an exchange's generation. Without an exchange it is the current one.
func (g *generations) ofExchange(exchange *v1alpha.ExchangeMetadata) *generation {
	if exchange == nil {
		return g.current.Load()
	}
	return exchange.Lease(g, g.lease).(*generation)
}

// lease counts one more exchange of the current generation. After a switch, a generation that is found without
// exchanges gets none any more: hence the second check.
func (g *generations) lease() v1alpha.Lease {
	for {
		current := g.current.Load()
		current.exchanges.Add(1)
		if g.current.Load() == current {
			return current
		}
		current.Release()
	}
}

// advanceTo makes next the current generation.
func (g *generations) advanceTo(next *generation) {
	if next == g.current.Load() {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.past = append(slices.DeleteFunc(g.past, func(p *generation) bool { return p.exchanges.Load() == 0 }), g.current.Load())
	g.current.Store(next)
}

// stillNeeds reports whether an exchange of an earlier generation may still call the process.
func (g *generations) stillNeeds(m *StreamManager) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.ContainsFunc(g.past, func(p *generation) bool { return m.runs(p) && p.exchanges.Load() > 0 })
}

// rank orders processes by how well they suit an exchange of generation `own`; the lowest is best. An execution goes to
// another generation only if its own has no usable process.
func (g *generations) rank(m *StreamManager, own *generation) int {
	switch leaving := m.is(roleLeaving); {
	case m.runs(own) && !leaving:
		return 0
	case m.runs(own):
		return 1
	case m.runs(g.current.Load()) && !leaving:
		return 2
	default:
		return 3
	}
}
