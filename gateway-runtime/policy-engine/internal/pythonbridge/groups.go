// Package pythonbridge makes Python policies ordinary ones for the engine. A PythonBridge is one policy instance; it
// hands executions to a group of executor processes, of which each has one stream that a StreamManager owns. The
// contract is proto/gatewright/executor/v1/python_executor.proto.
package pythonbridge

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
)

// Groups are all executor processes of a node. NewGroups → BridgeFactory, Ready, Stats → Close.
type Groups struct {
	groups map[string]*group
	close  context.CancelFunc
	runs   sync.WaitGroup
}

// NewGroups starts connecting to the executors, and goes on doing so until Close. The executors are Unix socket
// addresses, "unix:/path", by group.
func NewGroups(executors map[string][]string, opts Options, log *slog.Logger) *Groups {
	lifetime, cancel := context.WithCancel(context.Background())
	all := &Groups{groups: map[string]*group{}, close: cancel}
	for name, addresses := range executors {
		all.groups[name] = newGroup(lifetime, name, addresses, opts.withDefaults(), log)
		for _, process := range all.groups[name].processes {
			all.runs.Go(func() { process.run(lifetime) })
		}
	}
	return all
}

// Ready returns once every process has said hello, or with ctx's error and the group that is not there.
func (g *Groups) Ready(ctx context.Context) error {
	for _, name := range g.names() {
		if err := g.groups[name].ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Close ends all streams. Executions under way end as crashed, those that wait as unavailable.
func (g *Groups) Close() {
	g.close()
	g.runs.Wait()
}

// ProcessStats is how one executor process stands. Totals are since the engine started.
type ProcessStats struct {
	Group          string `json:"group"`
	Address        string `json:"address"`
	Connected      bool   `json:"connected"`
	Serving        bool   `json:"serving"` // by its last health check
	PID            uint32 `json:"pid"`     // 0 before the first hello
	PythonVersion  string `json:"pythonVersion"`
	Workers        uint32 `json:"workers"`
	Instances      int    `json:"instances"`
	UnderWay       int    `json:"underWay"` // sent and not answered
	Queued         int    `json:"queued"`
	Frames         uint64 `json:"frames"`     // sent
	Executions     uint64 `json:"executions"` // sent
	Reconnects     uint64 `json:"reconnects"`
	DroppedAnswers uint64 `json:"droppedAnswers"` // late, or never asked for
}

// Stats returns every process, by group and in the order it was named.
func (g *Groups) Stats() []ProcessStats {
	var all []ProcessStats
	for _, name := range g.names() {
		for _, process := range g.groups[name].processes {
			all = append(all, process.stats(name))
		}
	}
	return all
}

func (g *Groups) names() []string { return slices.Sorted(maps.Keys(g.groups)) }

func (m *StreamManager) stats(group string) ProcessStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	return ProcessStats{
		Group: group, Address: m.address, Connected: m.connected.Load(), Serving: m.usable(),
		PID: m.hello.GetPid(), PythonVersion: m.hello.GetPythonVersion(), Workers: m.hello.GetWorkers(),
		Instances: len(m.live), UnderWay: len(m.sent), Queued: m.queued,
		Frames: m.counts.frames, Executions: m.counts.executions,
		Reconnects: max(m.counts.streams, 1) - 1, DroppedAnswers: m.counts.dropped,
	}
}
