package chain

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"gatewright.dev/sdk/policy/v1alpha"
)

// running is a hook's execution under way. An exchange has only one at a time; it is a field of the exchange, since
// stacks are to stay small.
type running struct {
	Execution
	step  *step
	began time.Duration // by Now

	answers bool // it has answered: the response is the gateway's own
	newBody bool // it has replaced the body
}

var processStart = time.Now()

// Now is the time since the process started. It reads one clock, whereas time.Now reads two.
func Now() time.Duration { return time.Since(processStart) }

func (x *exchange) beginExecution(step *step, phase string) {
	step.observer.Began()
	r := &x.running
	r.step, r.began, r.answers, r.newBody = step, Now(), false, false
	r.RequestID, r.Phase, r.Failure, r.Answered, r.Continued, r.Cancelled = x.head.RequestID, phase, nil, false, false, true
	r.Work, r.Remote = 0, step.measured != nil
}

// complete records that the execution has taken effect: by its action, or by its failure.
func (r *running) complete(failure *v1alpha.Failure) {
	r.Failure, r.Cancelled = failure, false
	r.Continued = failure != nil && r.step.settings.OnError.For(failure.Class) == Continue
}

// endExecution notifies the observer. It runs even if the chain panics.
func (x *exchange) endExecution() {
	r := &x.running
	r.Duration = Now() - r.began
	if !r.Remote {
		r.Work = r.Duration
	}
	r.step.observer.Ended(r.Execution)
	if x.watched != nil {
		x.watchEnd()
	}
	if r.step.shadows != nil {
		x.startShadows()
	}
}

// execute calls one hook: within the instance's concurrency, inside its timeout, with panics recovered. The timeout
// begins here, once the message's body has come and the instance has a slot. A policy that never blocks has none. If the
// policy measures its work, the time is stored in work.
func execute[C, A any](ctx context.Context, i *Instance, call hook[C, A], input C, work *time.Duration) (A, *v1alpha.Failure) {
	if !i.acquireSlot() {
		var none A
		return none, i.overloaded()
	}
	if i.neverBlocks {
		action, err := callHook(ctx, i, call, input)
		return action, classify(ctx, err)
	}
	if i.measured != nil {
		ctx = i.measured.WithWork(ctx, work)
	}
	ctx, cancel := context.WithTimeout(ctx, i.settings.Timeout)
	defer cancel()
	if i.keepsDeadlines {
		action, err := callHook(ctx, i, call, input)
		return action, withElapsed(ctx, i, classify(ctx, err))
	}
	action, failure := callGuarded(ctx, i, call, input)
	return action, withElapsed(ctx, i, failure)
}

// withElapsed adds the limit, and the time that has passed, to a timeout's message.
func withElapsed(ctx context.Context, i *Instance, failure *v1alpha.Failure) *v1alpha.Failure {
	deadline, ok := ctx.Deadline()
	if failure == nil || failure.Class != v1alpha.ClassTimeout || !ok {
		return failure
	}
	limit := i.settings.Timeout
	elapsed := (limit - time.Until(deadline)).Round(time.Millisecond)
	detailed := *failure
	detailed.Message = fmt.Sprintf("%s; its timeout is %v, and %v have passed", failure.Message, limit, elapsed)
	return &detailed
}

func (i *Instance) acquireSlot() bool {
	if i.slots != nil {
		select {
		case i.slots <- struct{}{}:
		default:
			return false
		}
	}
	i.active.Add(1)
	return true
}

// overloaded is the failure of an execution without a free slot.
func (i *Instance) overloaded() *v1alpha.Failure {
	return v1alpha.Failf(v1alpha.ClassOverloaded, "maxConcurrency: %d executions are under way", cap(i.slots))
}

func (i *Instance) releaseSlot() {
	i.active.Add(-1)
	if i.slots != nil {
		<-i.slots
	}
}

// callGuarded waits for the hook until ctx is done. A late hook keeps its slot of maxConcurrency until it returns.
func callGuarded[C, A any](ctx context.Context, i *Instance, call hook[C, A], input C) (A, *v1alpha.Failure) {
	type outcome struct {
		action A
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		end := outcome{err: errors.New("the policy ended its goroutine")}
		defer func() { done <- end }()
		end.action, end.err = callHook(ctx, i, call, input)
	}()
	select {
	case end := <-done:
		return end.action, classify(ctx, end.err)
	case <-ctx.Done():
		var none A
		return none, classify(ctx, ctx.Err())
	}
}

func callHook[C, A any](ctx context.Context, i *Instance, call hook[C, A], input C) (action A, err error) {
	defer i.releaseSlot()
	defer func() {
		if cause := recover(); cause != nil {
			err = panicFailure(cause)
		}
	}()
	return call(ctx, input)
}

// panicFailure is the failure of a hook that panicked, with its function, file and line. Only a deferred function that
// recovers may call it.
func panicFailure(cause any) *v1alpha.Failure {
	pcs := make([]uintptr, 16)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)]) // 3: after the deferred function
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, "runtime.") {
			file := filepath.Base(frame.File)
			failure := v1alpha.Failf(v1alpha.ClassException, "panic: %v, in %s (%s:%d)", cause, frame.Function, file, frame.Line)
			failure.File, failure.Line = file, frame.Line
			return failure
		}
		if !more {
			return v1alpha.Failf(v1alpha.ClassException, "panic: %v, in an unknown place", cause)
		}
	}
}

// classify turns a hook's error into a failure of a known class. If ctx's deadline has passed it is a timeout.
func classify(ctx context.Context, err error) *v1alpha.Failure {
	if err == nil {
		return nil
	}
	var failure *v1alpha.Failure
	if errors.As(err, &failure) && failure != nil && slices.Contains(v1alpha.FailureClasses, failure.Class) {
		return failure
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return v1alpha.Failf(v1alpha.ClassTimeout, "the policy returned no action in time")
	}
	return v1alpha.Failf(v1alpha.ClassException, "%v", err)
}
