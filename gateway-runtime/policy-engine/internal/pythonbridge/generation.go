package pythonbridge

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

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

// of returns the generation that an exchange stays with. Without an exchange it is the current one.
func (g *generations) of(exchange *v1alpha.ExchangeMetadata) *generation {
	if exchange == nil {
		return g.current.Load()
	}
	return exchange.Lease(g, g.bind).(*generation)
}

// bind counts one more exchange of the current generation. Whoever makes another one current and then finds no exchange
// counted knows that none will be: hence the second look.
func (g *generations) bind() v1alpha.Lease {
	for {
		now := g.current.Load()
		now.exchanges.Add(1)
		if g.current.Load() == now {
			return now
		}
		now.Release()
	}
}

// succeed makes another generation the current one.
func (g *generations) succeed(next *generation) {
	if next == g.current.Load() {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.past = append(slices.DeleteFunc(g.past, func(p *generation) bool { return p.exchanges.Load() == 0 }), g.current.Load())
	g.current.Store(next)
}

// need reports whether an exchange that stays with a generation before the current one may yet call the process.
func (g *generations) need(m *StreamManager) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.ContainsFunc(g.past, func(p *generation) bool { return m.runs(p) && p.exchanges.Load() > 0 })
}

// stillServing is the last generation of a process that no other one has replaced.
const stillServing = math.MaxUint64

// runs reports whether the process is one of a generation's: it runs those from the one that it joined in to its last.
func (m *StreamManager) runs(g *generation) bool {
	return m.generation.number <= g.number && g.number <= m.last.Load()
}

// role is what a process is to its group.
type role int32

const (
	roleServing role = iota
	roleJoining      // is being configured; nothing is executed there yet
	roleLeaving      // gets no new exchanges, and goes when those it has are over
	roleGone
)

var roleNames = map[role]string{roleServing: "serving", roleJoining: "joining", roleLeaving: "leaving", roleGone: "gone"}

func (m *StreamManager) is(r role) bool { return role(m.role.Load()) == r }

func (m *StreamManager) become(r role) { m.role.Store(int32(r)) }

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

// leave lets a process go on with the exchanges it has, for at most limit.
func (m *StreamManager) leave(limit time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leaveBy = time.Now().Add(limit)
	m.become(roleLeaving)
}

// dismiss makes a leaving process one that gets nothing any more, once nothing is left to do there, nor needed, or its time
// is up.
// It reports whether it has, and how many executions that cuts off.
func (m *StreamManager) dismiss(now time.Time, all *generations, needed bool) (gone bool, cut int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.is(roleLeaving) {
		return false, 0
	}
	busy := needed || m.queued+len(m.sent) > 0 || all.need(m)
	if busy && now.Before(m.leaveBy) {
		return false, 0
	}
	m.become(roleGone)
	return true, m.queued + len(m.sent)
}
