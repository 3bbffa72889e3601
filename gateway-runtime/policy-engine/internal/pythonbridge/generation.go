package pythonbridge

import (
	"slices"
	"sync"
	"sync/atomic"

	"gatewright.dev/sdk/policy/v1alpha"
)

// generation is one build's Python side and the executor processes, of all groups, that run it. Processes of a group that
// a build has left as it was run the generations before and after it alike. An exchange stays with the generation that was
// current when its first Python policy was called.
type generation struct {
	number    uint64
	exchanges atomic.Int64 // that stay with it and have not ended
}

// Release says that an exchange which stayed with the generation has ended.
func (g *generation) Release() { g.exchanges.Add(-1) }

// generations knows the current generation, and those before it that exchanges may still stay with.
type generations struct {
	current atomic.Pointer[generation]

	mu   sync.Mutex
	past []*generation
}

func newGenerations(number uint64) *generations {
	made := &generations{}
	made.current.Store(&generation{number: number})
	return made
}

// ofExchange returns the generation that an exchange stays with. Without an exchange it is the current one.
func (g *generations) ofExchange(exchange *v1alpha.ExchangeMetadata) *generation {
	if exchange == nil {
		return g.current.Load()
	}
	return exchange.Lease(g, g.lease).(*generation)
}

// lease counts one more exchange of the current generation. Whoever makes another one current and then finds no exchange
// counted knows that none will be: hence the second look.
func (g *generations) lease() v1alpha.Lease {
	for {
		now := g.current.Load()
		now.exchanges.Add(1)
		if g.current.Load() == now {
			return now
		}
		now.Release()
	}
}

// advanceTo makes another generation the current one.
func (g *generations) advanceTo(next *generation) {
	if next == g.current.Load() {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.past = append(slices.DeleteFunc(g.past, func(p *generation) bool { return p.exchanges.Load() == 0 }), g.current.Load())
	g.current.Store(next)
}

// stillNeeds reports whether an exchange that stays with a generation before the current one may yet call the process.
func (g *generations) stillNeeds(m *StreamManager) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.ContainsFunc(g.past, func(p *generation) bool { return m.runs(p) && p.exchanges.Load() > 0 })
}

// rank orders processes by how well they suit an exchange that stays with `own`; the lowest is best. Another generation
// gets an execution only where its own has no process that is usable.
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
