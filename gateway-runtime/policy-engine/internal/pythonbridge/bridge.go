package pythonbridge

import (
	"context"
	"sync"

	"gatewright.dev/sdk/policy/v1alpha"
)

// PythonBridge is a policy instance that runs in a group of executor processes. Its errors are *v1alpha.Failure, or
// wrap one; one that wraps context.Canceled says that the exchange ended, not that the policy was at fault. Its methods
// may be called from any goroutine.
type PythonBridge struct {
	group    *group
	instance *instance
	closing  sync.Once
}

var (
	_ v1alpha.Policy         = (*PythonBridge)(nil)
	_ v1alpha.KeepsDeadlines = (*PythonBridge)(nil)
)

// OnRequest calls the policy's on_request in an executor, and returns at the latest when ctx is done, or after 60 s. A nil
// action means that the policy changes nothing.
func (b *PythonBridge) OnRequest(ctx context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	e, err := requestExecution(ctx, b.instance, req)
	if err != nil {
		return nil, err
	}
	e.generation = b.group.generations.ofExchange(req.Metadata)
	action, err := b.group.execute(ctx, e)
	if err != nil {
		return nil, err
	}
	return requestAction(action, req.Metadata)
}

// OnResponse calls the policy's on_response in an executor, as OnRequest does on_request.
func (b *PythonBridge) OnResponse(ctx context.Context, res *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	e, err := responseExecution(ctx, b.instance, res)
	if err != nil {
		return nil, err
	}
	e.generation = b.group.generations.ofExchange(res.Metadata)
	action, err := b.group.execute(ctx, e)
	if err != nil {
		return nil, err
	}
	return responseAction(action, res.Metadata)
}

// Close tells the executors that the instance gets no further executions. Closing twice is closing once.
func (b *PythonBridge) Close() error {
	b.closing.Do(func() { b.group.removeInstance(b.instance) })
	return nil
}

// Standing is why no process that serves has the instance ready, or nil where one has, or is about to.
func (b *PythonBridge) Standing() error {
	placements := b.instance.placements()
	if len(placements) == 0 {
		return v1alpha.Failf(v1alpha.ClassUnavailable, "the executors that run now have another definition of %s, or none; "+
			"have the controller read its definitions again, or write the API anew", b.instance)
	}
	var failure *v1alpha.Failure
	for _, p := range placements {
		if !p.home.is(roleServing) || !p.home.connected.Load() {
			continue
		}
		if p.is(stateReady) {
			return nil
		}
		at := p.status()
		if at.failure == nil {
			return nil
		}
		failure = at.failure
	}
	if failure == nil {
		return nil
	}
	return failure
}

// KeepsDeadlines says that both hooks return promptly once their context is done.
func (b *PythonBridge) KeepsDeadlines() {}

// bounded gives a deadline to a context that has none.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, longestExchange)
}
