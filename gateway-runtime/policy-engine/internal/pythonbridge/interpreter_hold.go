package pythonbridge

import (
	"fmt"
	"time"

	"gatewright.dev/sdk/policy/v1alpha"
)

// InterpreterHold reports that a policy's code holds the interpreter of an executor process, so that no other code runs
// there: the supervisor has inspected the process's stack.
type InterpreterHold struct {
	Address string `json:"address"` // of the process, "unix:/path"
	PID     uint32 `json:"pid"`
	Policy  string `json:"policy"` // name:version
	At      string `json:"at"`     // FILE:LINE of the policy
}

// interpreterHold is a hold of one process. The mutex of its StreamManager guards it.
type interpreterHold struct{ policy, at string }

// lostExecution is lostExecution, with the line that holds the process if it is known.
func (h *interpreterHold) lostExecution(cause error) *v1alpha.Failure {
	failure := lostExecution(cause)
	if h != nil {
		failure.Message = fmt.Sprintf("%s held the interpreter of the executor process at %s: %s", h.policy, h.at, failure.Message)
	}
	return failure
}

// RecordHold puts the instance that holds the interpreter of a process under quarantine. It returns the instance's id;
// "" if no instance of the policy has an execution there, or it is under quarantine already. An error: there is no such
// process.
func (g *Groups) RecordHold(hold InterpreterHold) (instance string, err error) {
	for _, name := range g.names() {
		for _, m := range g.group(name).allProcesses() {
			if m.address == hold.Address && m.pid() == hold.PID {
				return m.recordHold(hold, time.Now()), nil
			}
		}
	}
	return "", fmt.Errorf("expected the address and pid of an executor process, got %s and %d", hold.Address, hold.PID)
}

func (m *StreamManager) pid() uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stream.hello.GetPid()
}

func (m *StreamManager) recordHold(hold InterpreterHold, now time.Time) string {
	m.mu.Lock()
	defer m.unlock()
	if m.held != nil || !m.connected.Load() || !m.silent.Load() { // it is recorded already, or it is over
		return ""
	}
	m.held = &interpreterHold{hold.Policy, hold.At}
	return m.owner.processHeld(m.crashCandidates(now, func(i *instance) bool { return i.policy() == hold.Policy }), hold.At)
}
