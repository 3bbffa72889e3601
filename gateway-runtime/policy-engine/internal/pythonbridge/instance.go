package pythonbridge

import (
	"slices"
	"sync/atomic"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/quarantine"
	"gatewright.dev/sdk/policy/v1alpha"
)

// instance is a policy instance as a group holds it: its configuration, and its state in each process of the group.
type instance struct {
	configure *executorv1.ConfigureInstance // without its number
	placed    atomic.Pointer[[]*placement]  // replaced as a whole, by one goroutine at a time
	answered  atomic.Uint64                 // executions, by any process
	id        quarantine.ID                 // within its group; set before it has placements

	store         v1alpha.Store // of the policy at the API; set before the first execution; nil: none
	streamTimeout time.Duration // for its streams' own work between two chunks; set before the first execution
}

func newInstance(configure *executorv1.ConfigureInstance) *instance {
	i := &instance{configure: configure, streamTimeout: defaultStreamTimeout}
	i.placed.Store(&[]*placement{})
	return i
}

// placements returns the instance's state in each process. Do not change the slice.
func (i *instance) placements() []*placement { return *i.placed.Load() }

// addPlacement adds a process. The caller makes the placement live there.
func (i *instance) addPlacement(m *StreamManager) *placement {
	added := &placement{instance: i, home: m}
	added.setState(stateWaiting)
	next := append(slices.Clone(i.placements()), added)
	i.placed.Store(&next)
	return added
}

func (i *instance) removePlacement(m *StreamManager) {
	next := slices.DeleteFunc(slices.Clone(i.placements()), func(p *placement) bool { return p.home == m })
	i.placed.Store(&next)
}

// placementIn returns the instance's state in a process; nil if the process does not have it.
func (i *instance) placementIn(m *StreamManager) *placement {
	for _, p := range i.placements() {
		if p.home == m {
			return p
		}
	}
	return nil
}

// configureTimeout is how long the instance may take to become ready: the timeout of its prepare is added to the usual
// time.
func (i *instance) configureTimeout(usual time.Duration) time.Duration {
	return usual + time.Duration(i.configure.GetPrepareTimeoutMs())*time.Millisecond
}

// policy is name:version.
func (i *instance) policy() string {
	return i.configure.GetPolicyName() + ":" + i.configure.GetPolicyVersion()
}

// String names the instance in a log line.
func (i *instance) String() string { return i.policy() + " of API " + i.configure.GetApiName() }

// hasPlacementIn reports whether a process with this role has the instance.
func (i *instance) hasPlacementIn(r role) bool {
	return slices.ContainsFunc(i.placements(), func(p *placement) bool { return p.home.is(r) })
}
