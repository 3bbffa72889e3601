// Package dynmodule serves HTTP exchanges inside Envoy's process, as a dynamic module: the hooks of its HTTP filter hand
// over the heads of requests and responses as the messages of ext_proc, and apply the answers. So the exchange is that of
// internal/extproc, and each filter is one of its streams.
//
// A hook runs on a worker of Envoy's and must not wait. The chain of an exchange that never waits runs in a coroutine on
// the worker, which stops where it needs the response. Any other chain runs in a goroutine; Envoy pauses the exchange, and
// the stream has it call a hook again when there is something to apply.
//
// The package knows no C: package binding has the hooks.
package dynmodule

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"

	"gatewright.dev/policy-engine/internal/extproc"
)

// Envoy is what the module asks of Envoy. A filter and a scheduler are addresses of Envoy's.
type Envoy interface {
	// NewScheduler makes a scheduler of the filter, on the filter's worker.
	NewScheduler(filter uintptr) uintptr
	// Commit has Envoy call Scheduled on the filter's worker, unless the filter is gone by then. Any thread may call it.
	Commit(scheduler uintptr)
	// DeleteScheduler frees a scheduler.
	DeleteScheduler(scheduler uintptr)
}

// Module runs the streams of all filters.
type Module struct {
	server  *extproc.Server
	envoy   Envoy
	log     *slog.Logger
	streams streams
	running sync.WaitGroup // goroutines of streams
}

// New makes a module whose exchanges server runs.
func New(server *extproc.Server, envoy Envoy, log *slog.Logger) *Module {
	return &Module{server: server, envoy: envoy, log: log}
}

// Result is what a hook does when the module returns.
type Result struct {
	ID      ID     // of the stream; 0: it has ended, and nothing is told to it any more
	Answers []byte // encoded ProcessingResponses to apply, each behind its length in 4 bytes of the machine's order
	Ended   bool   // nothing more comes from the stream
	Failed  bool   // it has ended with an error: the exchange must not go on
}

// Request begins a stream with the message of the request's head. Answers are appended to room; if there are none and the
// stream has not ended, the request waits for Scheduled.
func (m *Module) Request(filter uintptr, _ ID, message, room []byte) Result {
	return m.begin(filter, message, room)
}

// Response hands the stream the message of the response's head. Without an ID it begins a stream: Envoy has answered before
// its filters saw the request.
func (m *Module) Response(filter uintptr, id ID, message, room []byte) Result {
	s := m.streams.find(id)
	if s == nil {
		return m.begin(filter, message, room)
	}
	if s.resume != nil {
		s.arrivals = append(s.arrivals, message)
		return s.step(room)
	}
	return s.deliver(message, room)
}

// Scheduled returns what a stream in a goroutine has answered meanwhile.
func (m *Module) Scheduled(id ID, room []byte) Result {
	s := m.streams.find(id)
	if s == nil {
		return Result{Ended: true}
	}
	return s.take(room)
}

// Destroy ends the stream of a filter that Envoy destroys. A coroutine can only be ended on the thread that it began on.
func (m *Module) Destroy(id ID, sameThread bool) {
	s := m.streams.remove(id)
	switch {
	case s == nil:
	case s.resume == nil:
		s.abandon()
	case sameThread:
		s.cancel()
		s.stop()
	default:
		m.log.Error("Envoy destroyed a stream on another thread than its own; its exchange never ends")
	}
}

// Wait waits for the goroutines of streams, all of which have been destroyed.
func (m *Module) Wait() { m.running.Wait() }

// Streams is the number of streams that have not ended.
func (m *Module) Streams() int { return m.streams.len() }

// begin begins a stream: it finds the chain, and has it run.
func (m *Module) begin(filter uintptr, message, room []byte) Result {
	s := &stream{module: m}
	s.arrivals = append(s.room[:0], message)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.exchange = m.server.Find(s)
	if s.exchange.NeverWaits() {
		s.startCoroutine()
		result := s.step(room)
		if !result.Ended {
			result.ID = m.streams.add(s)
			s.id = result.ID
		}
		return result
	}
	s.scheduler, s.unsettled = m.envoy.NewScheduler(filter), 1
	s.id = m.streams.add(s)
	m.running.Add(1)
	go s.run()
	return Result{ID: s.id}
}

// process runs the exchange. It recovers: nothing that happens in it may end the process.
func (s *stream) process() (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			s.module.log.Error("the exchange panicked", "cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	return s.exchange.Run()
}
