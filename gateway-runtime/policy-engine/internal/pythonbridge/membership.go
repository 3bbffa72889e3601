package pythonbridge

import (
	"math"
	"sync/atomic"
	"time"
)

// role is the role of a process in its group.
type role int32

const (
	roleServing role = iota
	roleJoining      // is being configured; it runs no executions yet
	roleLeaving      // gets no new exchanges, and goes when its last one has ended
	roleGone
)

var roleNames = map[role]string{roleServing: "serving", roleJoining: "joining", roleLeaving: "leaving", roleGone: "gone"}

// stillServing is the last generation of a process that has not been replaced.
const stillServing = math.MaxUint64

// membership is a process's place in its group: its role, and the generations that it runs.
type membership struct {
	joined     *generation
	last       atomic.Uint64 // number of the last generation that it runs
	role       atomic.Int32
	superseded []string  // policies whose instances it does not run while it joins; guarded by its group
	leaveBy    time.Time // when a leaving process is cut off; guarded by the mutex of its StreamManager
}

// runs reports whether the process belongs to a generation: it runs all from the one it joined in to its last.
func (m *membership) runs(g *generation) bool {
	return m.joined.number <= g.number && g.number <= m.last.Load()
}

func (m *membership) is(r role) bool { return role(m.role.Load()) == r }

func (m *membership) setRole(r role) { m.role.Store(int32(r)) }

func (m *membership) roleName() string { return roleNames[role(m.role.Load())] }
