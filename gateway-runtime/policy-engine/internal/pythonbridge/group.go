package pythonbridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/sdk/policy/v1alpha"
)

// group is the executor processes that run the same policies. Any of them can take any execution.
type group struct {
	name      string
	options   Options
	processes []*StreamManager
	lifetime  context.Context // done when the group is closed
	changes   signal
}

func newGroup(lifetime context.Context, name string, addresses []string, options Options, log *slog.Logger) *group {
	g := &group{name: name, options: options, lifetime: lifetime}
	for i, address := range addresses {
		m := newStreamManager(address, i, options, log.With("group", name, "executor", address))
		m.rehome, m.changed = g.rehome, g.changes.tell
		g.processes = append(g.processes, m)
	}
	return g
}

// execute runs one execution to its end, at the latest when ctx is done.
func (g *group) execute(ctx context.Context, e *execution) (*executorv1.Action, error) {
	if err := g.submit(e); err != nil {
		return nil, err
	}
	return e.wait(ctx)
}

// submit gives an execution to the best process; to the next best if that one is lost at this moment.
func (g *group) submit(e *execution) error {
	for range g.processes {
		process := g.pick(e)
		if process == nil {
			break
		}
		if err := process.submit(e); !errors.Is(err, errNotConnected) {
			return err
		}
	}
	return failUnavailable
}

// rehome finds another process for an execution that was not started.
func (g *group) rehome(e *execution) {
	if e.ended.Load() {
		return
	}
	if err := g.submit(e); err != nil {
		e.finish(outcome{err: err})
	}
}

// pick returns, of the usable processes that are furthest with the instance, the one with the fewest executions under
// way; nil when none is usable. Whoever refused the execution is not asked again.
func (g *group) pick(e *execution) *StreamManager {
	var best *StreamManager
	var bestState int32
	var bestLoad int64
	for _, process := range g.processes {
		if !process.usable() || process == e.refusedBy {
			continue
		}
		state, load := e.instance.placements[process.index].state.Load(), process.load.Load()
		if best == nil || state < bestState || (state == bestState && load < bestLoad) {
			best, bestState, bestLoad = process, state, load
		}
	}
	return best
}

// add makes an instance live in every process and returns once it is ready in all that are connected.
func (g *group) add(configure *executorv1.ConfigureInstance) (*instance, error) {
	added := newInstance(configure, len(g.processes))
	for _, process := range g.processes {
		process.add(added.placements[process.index])
	}
	if err := g.awaitReady(added); err != nil {
		g.remove(added)
		return nil, err
	}
	return added, nil
}

func (g *group) remove(i *instance) {
	for _, process := range g.processes {
		process.remove(i.placements[process.index])
	}
}

func (g *group) awaitReady(i *instance) error {
	reach, cancel := context.WithTimeout(g.lifetime, g.options.ConnectTimeout)
	defer cancel()
	if err := g.changes.await(reach, func() (bool, error) { return g.connected() > 0, nil }); err != nil {
		return v1alpha.Failf(v1alpha.ClassUnavailable, "no executor process of group %q could be reached within %s; expected one at %s (%v)",
			g.name, g.options.ConnectTimeout, g.addresses(), err)
	}
	ready, cancel := context.WithTimeout(g.lifetime, g.options.ConfigureTimeout)
	defer cancel()
	err := g.changes.await(ready, func() (bool, error) { return g.configured(i) })
	if errors.Is(err, context.DeadlineExceeded) {
		return v1alpha.Failf(v1alpha.ClassTimeout, "%s was not configured within %s by the executor processes at %s",
			i, g.options.ConfigureTimeout, g.addresses())
	}
	return err
}

// configured reports whether the instance is ready in every connected process, of which there is at least one.
func (g *group) configured(i *instance) (bool, error) {
	anywhere := false
	for _, process := range g.processes {
		at := process.standing(i)
		if at.failure != nil {
			return false, at.failure
		}
		if at.connected && !at.ready {
			return false, nil
		}
		anywhere = anywhere || at.connected
	}
	return anywhere, nil
}

func (g *group) connected() (count int) {
	for _, process := range g.processes {
		if process.connected.Load() {
			count++
		}
	}
	return count
}

func (g *group) addresses() string {
	var all []string
	for _, process := range g.processes {
		all = append(all, process.address)
	}
	return strings.Join(all, ", ")
}

// ready waits until every process has said hello.
func (g *group) ready(ctx context.Context) error {
	err := g.changes.await(ctx, func() (bool, error) { return g.connected() == len(g.processes), g.lifetime.Err() })
	if err != nil {
		return fmt.Errorf("executor group %q: %d of %d processes connected (%s): %w",
			g.name, g.connected(), len(g.processes), g.addresses(), err)
	}
	return nil
}

// signal tells all who wait that something changed.
type signal struct {
	mu   sync.Mutex
	next chan struct{}
}

func (s *signal) channel() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.next = make(chan struct{})
	}
	return s.next
}

func (s *signal) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next != nil {
		close(s.next)
		s.next = nil
	}
}

// await returns when check is done or fails, asking after each change, or with ctx's error.
func (s *signal) await(ctx context.Context, check func() (bool, error)) error {
	for {
		changed := s.channel()
		if done, err := check(); done || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
