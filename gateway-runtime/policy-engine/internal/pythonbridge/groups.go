// Package pythonbridge makes Python policies look like any other policy to the engine. A PythonBridge is one policy
// instance; it passes executions to a group of executor processes, each of which has one stream that a StreamManager
// owns. The contract is proto/gatewright/executor/v1/python_executor.proto.
//
// A StreamManager consists of small values under one mutex, each in a file of its own: executionQueue, pieceQueue,
// placements, frameCredit and healthReport. A session moves its frames, a healthMonitor checks the process. An
// execution with a streamed body has a bodyStream too.
//
// Executor processes come and go while exchanges are under way: deploy.go replaces one roster by another, generation.go
// and membership.go define which process an exchange belongs to.
package pythonbridge

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
)

// Groups are all executor processes of a node. NewGroups → BridgeFactory, Ready, Deploy, Stats → Close.
type Groups struct {
	options     Options
	log         *slog.Logger
	generations *generations
	lifetime    context.Context
	close       context.CancelFunc
	runs        sync.WaitGroup
	deploying   sync.Mutex // one Deploy at a time

	mu     sync.Mutex
	groups map[string]*group
}

// NewGroups starts connecting to the executors, and keeps the connections up until Close. The executors are Unix socket
// addresses, "unix:/path", by group, all of Options.Generation.
func NewGroups(executors map[string][]string, opts Options, log *slog.Logger) *Groups {
	lifetime, cancel := context.WithCancel(context.Background())
	opts = opts.withDefaults()
	all := &Groups{options: opts, log: log, generations: newGenerations(opts.Generation), lifetime: lifetime, close: cancel,
		groups: map[string]*group{}}
	for name, addresses := range executors {
		for _, address := range addresses {
			all.connect(all.groupOrNew(name).addProcess(address, all.generations.current.Load(), roleServing, nil))
		}
	}
	return all
}

// connect keeps a stream to a process up, until the process is stopped or the groups are closed.
func (g *Groups) connect(m *StreamManager) {
	running, stop := context.WithCancel(g.lifetime)
	m.stop = stop
	g.runs.Go(func() {
		defer stop()
		m.run(running)
	})
}

// group returns a group, or nil.
func (g *Groups) group(name string) *group {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.groups[name]
}

func (g *Groups) groupOrNew(name string) *group {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.groups[name] == nil {
		g.groups[name] = newGroup(g.lifetime, name, g.generations, g.options, g.log)
	}
	return g.groups[name]
}

func (g *Groups) names() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Sorted(maps.Keys(g.groups))
}

// Generation is the number of the generation that serves new exchanges.
func (g *Groups) Generation() uint64 { return g.generations.current.Load().number }

// Ready returns once every process has sent its hello, or with ctx's error and the group that is missing.
func (g *Groups) Ready(ctx context.Context) error {
	for _, name := range g.names() {
		if err := g.group(name).ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Close ends all streams. Executions under way end as crashed, waiting ones as unavailable.
func (g *Groups) Close() {
	g.close()
	g.deploying.Lock() // a Deploy under way ends now, and starts no more sessions afterwards
	defer g.deploying.Unlock()
	g.runs.Wait()
}
