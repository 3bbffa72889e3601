package pythonbridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/quarantine"
	"gatewright.dev/sdk/policy/v1alpha"
)

// group is a set of executor processes that run the same policies. Any process of a generation can run any execution.
type group struct {
	name        string
	options     Options
	generations *generations
	lifetime    context.Context // done when the group is closed
	log         *slog.Logger
	changes     signal
	crashes     *quarantine.CrashTracker

	mu        sync.Mutex
	processes []*StreamManager // in the order they came; replaced as a whole
	instances map[*instance]struct{}
	lastID    quarantine.ID // of an instance
}

func newGroup(lifetime context.Context, name string, generations *generations, options Options, log *slog.Logger) *group {
	return &group{name: name, options: options, generations: generations, lifetime: lifetime, log: log.With("group", name),
		crashes: quarantine.NewCrashTracker(options.quarantine(), log.With("group", name)), instances: map[*instance]struct{}{}}
}

// ---------------------------------------------------------------- processes

// addProcess adds a process, in which every live instance is to be configured, except for those of the superseded
// policies. The caller connects to it.
func (g *group) addProcess(address string, of *generation, as role, superseded []string) *StreamManager {
	m := newStreamManager(address, of, g.options, g.log.With("executor", address, "generation", of.number), g)
	m.setRole(as)
	g.mu.Lock()
	defer g.mu.Unlock()
	m.superseded = superseded
	for i := range g.instances {
		if !slices.Contains(superseded, i.policy()) {
			m.addInstance(i.addPlacement(m))
		}
	}
	g.processes = append(slices.Clone(g.processes), m)
	return m
}

// acceptSuperseded ends the time in which a process refuses instances of the policies that it supersedes: later
// instances are new.
func (g *group) acceptSuperseded(m *StreamManager) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m.superseded = nil
}

// isOnlyHolder reports whether a leaving process has a live instance that no serving process has.
func (g *group) isOnlyHolder(m *StreamManager) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.instances {
		if i.placementIn(m) != nil && !i.hasPlacementIn(roleServing) {
			return true
		}
	}
	return false
}

// removeProcess removes a process that is gone.
func (g *group) removeProcess(m *StreamManager) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m.metrics.Leave()
	for i := range g.instances {
		i.removePlacement(m)
	}
	g.processes = slices.DeleteFunc(slices.Clone(g.processes), func(p *StreamManager) bool { return p == m })
	g.changes.broadcast()
}

// allProcesses returns the processes in the order of their arrival. Do not change the slice.
func (g *group) allProcesses() []*StreamManager {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.processes
}

// serving returns the processes that new exchanges go to.
func (g *group) serving() []*StreamManager {
	return slices.DeleteFunc(slices.Clone(g.allProcesses()), func(m *StreamManager) bool { return !m.is(roleServing) })
}

// processChanged wakes the goroutines that wait for processes and instances.
func (g *group) processChanged() { g.changes.broadcast() }

func (g *group) processCrashed(candidates []quarantine.Candidate) {
	g.crashes.RecordCrash(candidates)
}

func (g *group) processHeld(candidates []quarantine.Candidate, at string) string {
	return g.crashes.RecordHold(candidates, at)
}

// ---------------------------------------------------------------- executions

// execute runs one execution to its end, at the latest when ctx is done.
func (g *group) execute(ctx context.Context, e *execution) (*executorv1.Action, error) {
	probe, refusal := g.crashes.Admit(e.instance.id)
	if refusal != nil {
		return nil, quarantineFailure(e.instance, refusal)
	}
	e.probe = probe
	if err := g.submit(e); err != nil {
		probe.Conclude(false)
		return nil, err
	}
	action, err := e.wait(ctx)
	probe.Conclude(err == nil && ran(action))
	return action, err
}

// stream runs one execution with a streamed body to its end: see converse. An instance on probation after a quarantine
// has passed as soon as its policy yields.
func (g *group) stream(ctx context.Context, e *execution, body streamedBody, yield func([]byte, error) bool) (*executorv1.Action, error) {
	probe, refusal := g.crashes.Admit(e.instance.id)
	if refusal != nil {
		return nil, quarantineFailure(e.instance, refusal)
	}
	e.probe = probe
	if err := g.submit(e); err != nil {
		probe.Conclude(false)
		return nil, err
	}
	if probe != nil {
		yield = concludeOnYield(probe, yield)
	}
	action, err := e.converse(ctx, body, yield)
	probe.Conclude(err == nil && ran(action))
	return action, err
}

func concludeOnYield(probe *quarantine.Probe, yield func([]byte, error) bool) func([]byte, error) bool {
	return func(chunk []byte, err error) bool {
		probe.Conclude(true)
		return yield(chunk, err)
	}
}

func quarantineFailure(i *instance, refusal *quarantine.Refusal) *v1alpha.Failure {
	if refusal.HeldAt != "" {
		return v1alpha.Failf(v1alpha.ClassCrashed, "%s is under quarantine: it held the interpreter of an executor process at %s, so that nothing else ran there; it is tried again in %s",
			i, refusal.HeldAt, refusal.Left.Round(time.Second))
	}
	return v1alpha.Failf(v1alpha.ClassCrashed, "%s is under quarantine: %d executor processes died while it ran; it is tried again in %s",
		i, refusal.Crashes, refusal.Left.Round(time.Second))
}

// submit gives an execution to the best process; if that is lost at the same moment, to the next best.
func (g *group) submit(e *execution) error {
	for range e.instance.placements() {
		best := g.pick(e)
		if best == nil {
			break
		}
		if err := best.home.submit(e, best); !errors.Is(err, errNotConnected) {
			return err
		}
	}
	return failUnavailable
}

// reroute finds another process for an execution that was not started, unless its instance is under quarantine by now.
func (g *group) reroute(e *execution) {
	if e.ended.Load() {
		return
	}
	if refusal := g.crashes.Check(e.instance.id, e.probe); refusal != nil {
		e.finish(outcome{err: quarantineFailure(e.instance, refusal)})
		return
	}
	if err := g.submit(e); err != nil {
		e.finish(outcome{err: err})
	}
}

// suitability ranks a process for an execution: lower is better.
type suitability struct {
	rank  int   // the exchange's own generation first
	state int32 // then the process that is furthest with the instance; one whose event loop is blocked is not ready
	doubt int   // then one that answers its health checks, and serves by the last of them
	apart bool  // then the process of a stream's source
	load  int64 // then the one with the fewest executions under way
}

func (a suitability) better(b suitability) bool {
	switch {
	case a.rank != b.rank:
		return a.rank < b.rank
	case a.state != b.state:
		return a.state < b.state
	case a.doubt != b.doubt:
		return a.doubt < b.doubt
	case a.apart != b.apart:
		return b.apart
	}
	return a.load < b.load
}

// pick returns the placement in the most suitable usable process; nil if there is none. A process that has refused the
// execution is not asked again.
func (g *group) pick(e *execution) (best *placement) {
	var bestOffer suitability
	for _, p := range e.instance.placements() {
		m := p.home
		if !m.usable() || m == e.refusedBy {
			continue
		}
		offer := suitability{rank: g.generations.rank(m, e.generation), state: p.state.Load(), apart: e.body.isApartFrom(m), load: m.load.Load()}
		switch {
		case !m.serving.Load():
			offer.doubt, offer.state = 1, max(offer.state, int32(stateWaiting))
		case m.silent.Load():
			offer.doubt = 1
		}
		if best == nil || offer.better(bestOffer) {
			best, bestOffer = p, offer
		}
	}
	return best
}

// ---------------------------------------------------------------- instances

// configureInstance makes an instance live in every process, and returns once it is ready in all serving processes that
// are connected.
func (g *group) configureInstance(added *instance) error {
	g.addInstance(added)
	if err := g.awaitReady(added); err != nil {
		g.removeInstance(added)
		return err
	}
	return nil
}

func (g *group) addInstance(i *instance) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lastID++
	i.id = g.lastID
	g.crashes.Track(quarantine.Instance{ID: i.id, Policy: i.policy(), API: i.configure.GetApiName(), Name: i.configure.GetInstanceId()})
	g.instances[i] = struct{}{}
	for _, process := range g.processes {
		if !process.is(roleLeaving) && !process.is(roleGone) && !slices.Contains(process.superseded, i.policy()) {
			process.addInstance(i.addPlacement(process))
		}
	}
}

func (g *group) removeInstance(i *instance) {
	g.mu.Lock()
	delete(g.instances, i)
	g.crashes.Forget(i.id)
	placements := i.placements()
	g.mu.Unlock()
	for _, p := range placements {
		p.home.removeInstance(p)
	}
}

func (g *group) awaitReady(i *instance) error {
	reach, cancel := context.WithTimeout(g.lifetime, g.options.ConnectTimeout)
	defer cancel()
	if err := g.changes.await(reach, func() (bool, error) { return g.connected() > 0, nil }); err != nil {
		return v1alpha.Failf(v1alpha.ClassUnavailable, "no executor process of group %q could be reached within %s; expected one at %s (%v)",
			g.name, g.options.ConnectTimeout, g.addresses(), err)
	}
	limit := i.configureTimeout(g.options.ConfigureTimeout)
	ready, cancel := context.WithTimeout(g.lifetime, limit)
	defer cancel()
	err := g.changes.await(ready, func() (bool, error) { return i.configured() })
	if errors.Is(err, context.DeadlineExceeded) {
		return v1alpha.Failf(v1alpha.ClassTimeout, "%s was not configured within %s by the executor processes at %s",
			i, limit, g.addresses())
	}
	return err
}

// configured reports whether the instance is ready in every serving process that is connected, and there is one.
func (i *instance) configured() (bool, error) {
	connected := false
	for _, p := range i.placements() {
		if !p.home.is(roleServing) {
			continue
		}
		status := p.status()
		if status.failure != nil {
			return false, status.failure
		}
		if status.connected && !status.ready {
			return false, nil
		}
		connected = connected || status.connected
	}
	return connected, nil
}

func (g *group) connected() (count int) {
	for _, process := range g.serving() {
		if process.connected.Load() {
			count++
		}
	}
	return count
}

func (g *group) addresses() string {
	var all []string
	for _, process := range g.serving() {
		all = append(all, process.address)
	}
	return strings.Join(all, ", ")
}

// ready waits until every process has sent its hello.
func (g *group) ready(ctx context.Context) error {
	err := g.changes.await(ctx, func() (bool, error) { return g.connected() == len(g.serving()), g.lifetime.Err() })
	if err != nil {
		return fmt.Errorf("executor group %q: %d of %d processes connected (%s): %w",
			g.name, g.connected(), len(g.serving()), g.addresses(), err)
	}
	return nil
}

// sweep removes the leaving processes that have finished, and reports whether any remain.
func (g *group) sweep(now time.Time) (left bool) {
	for _, m := range g.allProcesses() {
		if !m.is(roleLeaving) {
			continue
		}
		gone, cut := m.dismiss(now, g.isOnlyHolder(m) || g.generations.stillNeeds(m))
		if !gone {
			left = true
			continue
		}
		if cut > 0 {
			m.log.Warn("executor process cut off: it did not finish its executions within the drain time", "executions", cut)
		} else {
			m.log.Info("executor process drained")
		}
		m.collectLastMetrics(g.lifetime)
		g.removeProcess(m)
		m.stop()
	}
	return left
}
