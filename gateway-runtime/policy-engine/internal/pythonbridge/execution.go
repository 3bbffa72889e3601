package pythonbridge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/quarantine"
	"gatewright.dev/sdk/policy/v1alpha"
)

// outcome is the result of an execution: an action, or an error that is a *v1alpha.Failure.
type outcome struct {
	action *executorv1.Action
	err    error
}

// execution is one call under way. The goroutine that sets `ended` determines its outcome, so it ends exactly once; its
// place in a queue or among the sent ones is given up afterwards, at the latest when its turn comes.
type execution struct {
	message  executorv1.Execution // id, instance and timeout_us are set when the execution is put into a frame
	instance *instance
	deadline time.Time
	size     int // bytes in a frame, about
	answers  chan outcome
	alone    bool // it travels in a frame of its own
	ended    atomic.Bool
	home     atomic.Pointer[StreamManager] // the process that has it; nil while it moves to another

	generation *generation       // the generation of its exchange
	refusedBy  *StreamManager    // a process that received it and did not start it; written by its home only
	frame      uint64            // number of the frame that it was sent in, on the stream
	probe      *quarantine.Probe // set before submission if the execution decides about its instance's quarantine
	body       *bodyStream       // nil unless the execution streams a body
	location   *location         // where it was when its timeout passed; set before the timeout is returned; nil: unknown

	// Guarded by the mutex of home.
	at         *placement
	queue      *fifo
	prev, next *execution
}

// answerChannels are reused: once an execution has ended and its waiter has returned, its channel stays empty.
var answerChannels = newAnswerChannels()

func newAnswerChannels() *sync.Pool {
	return &sync.Pool{New: func() any { return make(chan outcome, 1) }}
}

// finish ends the execution with a result for its waiter, unless it has ended already.
func (e *execution) finish(result outcome) {
	if e.ended.CompareAndSwap(false, true) {
		e.answers <- result
	}
}

// wait returns the execution's result, at the latest when ctx is done.
func (e *execution) wait(ctx context.Context) (*executorv1.Action, error) {
	defer answerChannels.Put(e.answers)
	select {
	case result := <-e.answers:
		return result.action, result.err
	case <-ctx.Done():
	}
	if ended, logged := e.abandon(errors.Is(ctx.Err(), context.DeadlineExceeded)); ended {
		return nil, e.contextFailure(ctx, logged)
	}
	result := <-e.answers
	return result.action, result.err
}

// abandon ends the execution because its waiter has stopped, unless it has ended already. logged: the process will log
// where the execution was.
func (e *execution) abandon(timedOut bool) (ended, logged bool) {
	if !e.ended.CompareAndSwap(false, true) {
		return false, false
	}
	if home := e.home.Load(); home != nil {
		logged = home.abandon(e, timedOut)
	}
	return true, logged
}

// contextFailure is the failure of an execution that its process still has.
func (e *execution) contextFailure(ctx context.Context, logged bool) error {
	if !logged || e.location == nil {
		return contextFailure(ctx, logged)
	}
	failure := *failTimeoutLogged
	failure.Cause = e.location
	return fmt.Errorf("%w: %w", &failure, ctx.Err())
}

// contextFailure wraps ctx's error. A timeout is a *v1alpha.Failure too. An exchange that has ended is no failure of the
// policy: the chain records its execution as cancelled.
func contextFailure(ctx context.Context, logged bool) error {
	switch {
	case logged:
		return fmt.Errorf("%w: %w", failTimeoutLogged, ctx.Err())
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", failTimeout, ctx.Err())
	}
	return fmt.Errorf("%w: %w", errExchangeEnded, ctx.Err())
}

// errExchangeEnded says that the exchange ended while its execution was under way.
var errExchangeEnded = errors.New("the exchange has ended")

var (
	failTimeout       = v1alpha.Failf(v1alpha.ClassTimeout, "the execution got no answer within its timeout")
	failTimeoutLogged = &v1alpha.Failure{Class: failTimeout.Class, Message: failTimeout.Message, Logged: true}
	failUnavailable   = v1alpha.Failf(v1alpha.ClassUnavailable, "no executor process of the group takes executions now; "+
		"this one was not started")
	failClosed = v1alpha.Failf(v1alpha.ClassUnavailable, "the policy instance is closed; the execution was not started")
)
