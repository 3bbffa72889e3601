package pythonbridge

import (
	"slices"
	"sync/atomic"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/sdk/policy/v1alpha"
)

// instance is a policy instance as a group holds it: what to send to configure it, and how it stands with each
// process of the group.
type instance struct {
	configure *executorv1.ConfigureInstance // without its number
	placed    atomic.Pointer[[]*placement]  // replaced as a whole, by one goroutine at a time
	answered  atomic.Uint64                 // executions, by any process
	confined  atomic.Pointer[quarantine]    // nil: executions are sent
}

func newInstance(configure *executorv1.ConfigureInstance) *instance {
	made := &instance{configure: configure}
	made.placed.Store(&[]*placement{})
	return made
}

// placements are how the instance stands with each process. Do not change the slice.
func (i *instance) placements() []*placement { return *i.placed.Load() }

// place adds a process. The caller makes the placement live there.
func (i *instance) place(m *StreamManager) *placement {
	made := &placement{instance: i, home: m}
	made.become(stateWaiting)
	next := append(slices.Clone(i.placements()), made)
	i.placed.Store(&next)
	return made
}

func (i *instance) withdraw(m *StreamManager) {
	next := slices.DeleteFunc(slices.Clone(i.placements()), func(p *placement) bool { return p.home == m })
	i.placed.Store(&next)
}

// at is how the instance stands with a process; nil if that does not have it.
func (i *instance) at(m *StreamManager) *placement {
	for _, p := range i.placements() {
		if p.home == m {
			return p
		}
	}
	return nil
}

// configureTimeout is how long the instance may take to be ready: what its prepare may take comes on top of what is
// usual.
func (i *instance) configureTimeout(usual time.Duration) time.Duration {
	return usual + time.Duration(i.configure.GetPrepareTimeoutMs())*time.Millisecond
}

// policy is name:version.
func (i *instance) policy() string {
	return i.configure.GetPolicyName() + ":" + i.configure.GetPolicyVersion()
}

// String names the instance in a log line.
func (i *instance) String() string { return i.policy() + " of API " + i.configure.GetApiName() }

// livesAt reports whether the instance has a place in a process of this role.
func (i *instance) livesAt(r role) bool {
	return slices.ContainsFunc(i.placements(), func(p *placement) bool { return p.home.is(r) })
}

// maxBreaks streams lost while they configured an instance make the instance the likely cause.
const maxBreaks = 2

type placementState int32

// In this order a group prefers them.
const (
	stateReady   placementState = iota
	stateAsked                  // configure was sent, no answer yet
	stateWaiting                // configure is still to be sent, or there is no stream
	stateFailed
	stateClosed
)

// placement is how an instance stands with one process. Guarded by the mutex of its StreamManager; only `state` is
// also read without it.
type placement struct {
	instance *instance
	home     *StreamManager
	state    atomic.Int32
	number   uint32           // on the present stream
	failure  *v1alpha.Failure // why it is not ready; kept until it is
	retryAt  time.Time        // when a failed one is configured again
	tries    int              // to configure it that have failed in a row
	answered bool             // it was ready or failed at least once
	breaks   int              // streams that broke while it was asked for and never answered
	parked   fifo             // executions that wait for it to be ready
	leftAt   time.Time        // when an execution was last abandoned that may still run
}

func (p *placement) become(state placementState) { p.state.Store(int32(state)) }

// await is a state on the way to ready. One that failed stays failed until then.
func (p *placement) await(state placementState) {
	if p.failure == nil {
		p.become(state)
	}
}

// unavailable is what an execution is told while its instance is not ready: it was, or there would be no route to it, and
// is configured again, so that another try may do better. Guarded as failure is.
func (p *placement) unavailable() *v1alpha.Failure {
	return v1alpha.Failf(v1alpha.ClassUnavailable, "%s is not ready, and is tried again: %s", p.instance, p.failure.Error())
}

func (p *placement) is(state placementState) bool { return placementState(p.state.Load()) == state }

// message is the configuration as it travels on the present stream.
func (p *placement) message() *executorv1.ConfigureInstance {
	c := p.instance.configure
	return &executorv1.ConfigureInstance{
		Instance: p.number, PolicyName: c.PolicyName, PolicyVersion: c.PolicyVersion, Parameters: c.Parameters,
		SystemParameters: c.SystemParameters, ApiName: c.ApiName, ApiVersion: c.ApiVersion,
		MaxConcurrency: c.MaxConcurrency, PrepareTimeoutMs: c.PrepareTimeoutMs, InstanceId: c.InstanceId,
		Operation: c.Operation,
	}
}

// standing is how an instance stands with a process.
type standing struct {
	connected, ready bool
	failure          *v1alpha.Failure // why it is not ready, if that is known
}

func (p *placement) standing() standing {
	m := p.home
	m.mu.Lock()
	defer m.mu.Unlock()
	failure := p.failure
	if p.breaks >= maxBreaks {
		failure = v1alpha.Failf(v1alpha.ClassCrashed, "the executor process at %s was lost %d times while it configured %s",
			m.address, p.breaks, p.instance)
	}
	return standing{connected: m.connected.Load(), ready: p.is(stateReady), failure: failure}
}
