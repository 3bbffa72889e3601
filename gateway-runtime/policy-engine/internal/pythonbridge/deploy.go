package pythonbridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/backoff"
	"gatewright.dev/sdk/policy/v1alpha"
)

// Roster lists the executor processes that are to serve, of all groups: addresses, "unix:/path", by group. A process
// that serves now and is listed continues, also into a later generation: its group is the same there.
type Roster struct {
	Generation uint64
	Executors  map[string][]string
	Superseded []string // policies, name:version, whose live instances stay with the leaving processes: new instances will replace them
}

// Deploy switches to a roster: it connects to the new processes, configures every live instance in them, and when all
// are ready gives them the new exchanges. Processes that are no longer listed finish the exchanges that they have,
// within Options.Drain, and then disappear from Stats. If there is an error, nothing has changed.
func (g *Groups) Deploy(ctx context.Context, want Roster) error {
	g.deploying.Lock()
	defer g.deploying.Unlock()
	if g.lifetime.Err() != nil {
		return errors.New("the engine is stopping")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.lifetime, cancel)() //nolint:contextcheck // the first of both to end ends the wait
	change, err := g.plan(want)
	if err != nil {
		return err
	}
	for _, joiner := range change.joining {
		joiner.process = joiner.group.addProcess(joiner.address, change.generation, roleJoining, change.superseded)
		g.connect(joiner.process) //nolint:contextcheck // a process that joined outlives the request that named it
	}
	if err := change.awaitJoined(ctx); err != nil {
		change.abort()
		return err
	}
	renewed := change.generation != g.generations.current.Load()
	change.commit(g.generations)
	if renewed {
		change.resetQuarantine()
	}
	g.log.Info("executors deployed", "generation", change.generation.number, "joined", len(change.joining), "leaving", len(change.leaving))
	g.runs.Go(g.sweep)
	return nil
}

// change is the difference between two rosters.
type change struct {
	generation *generation
	superseded []string
	joining    []*joiner
	leaving    []*StreamManager
}

type joiner struct {
	group   *group
	address string
	process *StreamManager
}

// plan compares a roster with the serving processes.
func (g *Groups) plan(want Roster) (*change, error) {
	present := g.generations.current.Load()
	if want.Generation < present.number {
		return nil, fmt.Errorf("generation: expected %d or later, got %d", present.number, want.Generation)
	}
	difference := &change{generation: present, superseded: want.Superseded}
	if want.Generation > present.number {
		difference.generation = &generation{number: want.Generation}
	}
	for name, addresses := range want.Executors {
		group := g.groupOrNew(name)
		for _, address := range addresses {
			if err := difference.planJoin(group, address); err != nil {
				return nil, err
			}
		}
	}
	for _, name := range g.names() {
		if err := difference.planLeave(g.group(name), want.Executors[name]); err != nil {
			return nil, err
		}
	}
	return difference, nil
}

// planJoin plans for an address of the roster, unless its process is serving already.
func (c *change) planJoin(of *group, address string) error {
	for _, process := range of.allProcesses() {
		if process.address != address {
			continue
		}
		if process.is(roleServing) {
			return nil
		}
		return fmt.Errorf("executor group %q: expected a new address for a new process, got %s, which belongs to a process of generation %d that is %s",
			of.name, address, process.joined.number, process.roleName())
	}
	c.joining = append(c.joining, &joiner{group: of, address: address})
	return nil
}

// planLeave plans for the processes of a group that the roster does not name.
func (c *change) planLeave(of *group, addresses []string) error {
	if live := of.liveInstances(c.superseded); len(addresses) == 0 && len(live) > 0 {
		return fmt.Errorf("executor group %q: expected at least one process, for policy instances run there, got none: %s; take the policy off its APIs first",
			of.name, strings.Join(live, ", "))
	}
	for _, process := range of.serving() {
		if !slices.Contains(addresses, process.address) {
			c.leaving = append(c.leaving, process)
		}
	}
	return nil
}

// awaitJoined waits until every joining process is ready, or returns why one will not be.
func (c *change) awaitJoined(ctx context.Context) error {
	for range 2 { // a second time for instances that were added during the first
		for _, joiner := range c.joining {
			if err := joiner.group.awaitJoined(ctx, joiner.process); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *change) abort() {
	for _, joiner := range c.joining {
		joiner.process.setRole(roleGone)
		joiner.group.removeProcess(joiner.process)
		joiner.process.stop()
	}
}

// commit switches over. At all times an exchange has a process of its generation.
func (c *change) commit(generations *generations) {
	for _, joiner := range c.joining {
		joiner.process.setRole(roleServing)
		joiner.group.acceptSuperseded(joiner.process)
	}
	for _, process := range c.leaving {
		process.last.Store(generations.current.Load().number)
	}
	generations.advanceTo(c.generation)
	for _, process := range c.leaving {
		process.leave(process.options.Drain)
	}
}

// resetQuarantine ends the quarantines of the groups whose code is replaced.
func (c *change) resetQuarantine() {
	for _, joiner := range c.joining {
		joiner.group.crashes.Reset()
	}
}

// sweepInterval is how often leaving processes are checked.
const sweepInterval = 50 * time.Millisecond

// sweep runs until no process is leaving.
func (g *Groups) sweep() {
	for left := true; left && backoff.Sleep(g.lifetime, sweepInterval); {
		left = g.sweepOnce(time.Now())
	}
	g.forgetPolicies()
}

func (g *Groups) sweepOnce(now time.Time) (left bool) {
	for _, name := range g.names() {
		left = g.group(name).sweep(now) || left
	}
	return left
}

// awaitJoined waits as long as the process makes progress with its instances.
func (g *group) awaitJoined(ctx context.Context, m *StreamManager) error {
	for before := -1; ; {
		now, _ := m.configureProgress()
		if now.ready == before {
			return fmt.Errorf("executor group %q: the process at %s has not become ready: %d of %d policy instances are configured, and none was in the last %s",
				g.name, m.address, now.ready, now.live, now.limit)
		}
		before = now.ready
		bounded, cancel := context.WithTimeout(ctx, now.limit)
		err := g.changes.await(bounded, func() (bool, error) { return g.joined(m) })
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return err
		}
	}
}

// joined reports whether a process is connected and every live instance ready there. Failures that also occur in the
// serving processes do not count.
func (g *group) joined(m *StreamManager) (bool, error) {
	at, lost := m.configureProgress()
	if lost != nil {
		return false, fmt.Errorf("executor group %q: %s before it was ready: %w", g.name, describeLoss(lost), lost)
	}
	if !m.connected.Load() {
		return false, nil
	}
	if err := errors.Join(g.importFailures(m), g.configureFailures(m, at.failed)); err != nil {
		return false, err
	}
	return at.pending() == 0, nil
}

// configureFailures are the instances that work in a serving process and have failed in this one. Equal failures of a
// policy's instances are one error, however many APIs have the policy.
func (g *group) configureFailures(m *StreamManager, failed map[*instance]*v1alpha.Failure) error {
	type kind struct{ policy, reason string }
	apis, failures := map[kind][]string{}, map[kind]*v1alpha.Failure{}
	for i, failure := range failed {
		if g.readyElsewhere(i, m) {
			key := kind{i.policy(), failure.Error()}
			apis[key], failures[key] = append(apis[key], i.configure.GetApiName()), failure
		}
	}
	kinds := slices.SortedFunc(maps.Keys(apis), func(a, b kind) int {
		return cmp.Or(cmp.Compare(a.policy, b.policy), cmp.Compare(a.reason, b.reason))
	})
	errs := make([]error, 0, len(kinds))
	for _, key := range kinds {
		errs = append(errs, fmt.Errorf("%s of %s: %w", key.policy, describeAPIs(apis[key]), failures[key]))
	}
	return errors.Join(errs...)
}

// maxNamedAPIs is how many APIs an error names.
const maxNamedAPIs = 5

func describeAPIs(names []string) string {
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 1 {
		return "API " + names[0]
	}
	more := ""
	if len(names) > maxNamedAPIs {
		names, more = names[:maxNamedAPIs], fmt.Sprintf(" and %d more", len(names)-maxNamedAPIs)
	}
	return "the APIs " + strings.Join(names, ", ") + more
}

// importFailures are the policies that this process cannot use, except for those that no serving process can use.
func (g *group) importFailures(m *StreamManager) error {
	var errs []error
	for _, policy := range m.policies() {
		if failure := policy.GetFailure(); failure != nil && !g.failsEverywhere(policy.GetName(), policy.GetVersion()) {
			errs = append(errs, fmt.Errorf("policy %s:%s: %s", policy.GetName(), policy.GetVersion(), failure.GetMessage()))
		}
	}
	return errors.Join(errs...)
}

func (g *group) failsEverywhere(name, version string) bool {
	serving := g.serving()
	for _, process := range serving {
		for _, policy := range process.policies() {
			if policy.GetName() == name && policy.GetVersion() == version && policy.GetFailure() == nil {
				return false
			}
		}
		if !slices.ContainsFunc(process.policies(), func(p *executorv1.LoadedPolicy) bool {
			return p.GetName() == name && p.GetVersion() == version
		}) {
			return false // the policy is new
		}
	}
	return len(serving) > 0
}

func (g *group) readyElsewhere(i *instance, m *StreamManager) bool {
	return slices.ContainsFunc(i.placements(), func(p *placement) bool {
		return p.home != m && p.home.is(roleServing) && p.status().ready
	})
}

func (g *group) liveInstances(superseded []string) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var names []string
	for i := range g.instances {
		if !slices.Contains(superseded, i.policy()) {
			names = append(names, i.String())
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
