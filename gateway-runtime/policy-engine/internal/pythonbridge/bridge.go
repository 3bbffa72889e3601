package pythonbridge

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/sdk/policy/v1alpha"
)

// PythonBridge is a policy instance that runs in a group of executor processes. Its errors are *v1alpha.Failure, or
// wrap one; if the exchange has ended they wrap context.Canceled instead. Its methods may be called from any goroutine.
type PythonBridge struct {
	group    *group
	instance *instance
	closing  sync.Once
}

var (
	_ v1alpha.Policy           = (*PythonBridge)(nil)
	_ v1alpha.RequestStreamer  = (*PythonBridge)(nil)
	_ v1alpha.ResponseStreamer = (*PythonBridge)(nil)
	_ v1alpha.KeepsDeadlines   = (*PythonBridge)(nil)
)

// OnRequest calls the policy's on_request in an executor, and returns at the latest when ctx is done, or after 60 s. A
// nil action means that the policy changes nothing.
func (b *PythonBridge) OnRequest(ctx context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	ctx, cancel := withDeadline(ctx)
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
	storeWork(ctx, action)
	return requestAction(action, req.Metadata)
}

// OnResponse calls the policy's on_response in an executor, as OnRequest does on_request.
func (b *PythonBridge) OnResponse(ctx context.Context, res *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	ctx, cancel := withDeadline(ctx)
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
	storeWork(ctx, action)
	return responseAction(action, res.Metadata)
}

// OnRequestStream calls the policy's on_request_stream in an executor, when its result is iterated. chunks is iterated
// in a goroutine of its own, once the executor has acknowledged the execution, and up to 128 KiB ahead of the pieces
// sent. If the stream ends before chunks does, that goroutine ends with its wait for a chunk: at the latest when ctx is
// done.
func (b *PythonBridge) OnRequestStream(ctx context.Context, req *v1alpha.RequestContext, chunks v1alpha.Chunks) v1alpha.Chunks {
	return func(yield func([]byte, error) bool) {
		e, err := requestStreamExecution(ctx, b.instance, req)
		b.stream(ctx, e, err, streamedBody{chunks, req.Trailers, req.Analytics}, req.Metadata, yield)
	}
}

// OnResponseStream calls the policy's on_response_stream in an executor, as OnRequestStream does on_request_stream.
func (b *PythonBridge) OnResponseStream(ctx context.Context, res *v1alpha.ResponseContext, chunks v1alpha.Chunks) v1alpha.Chunks {
	return func(yield func([]byte, error) bool) {
		e, err := responseStreamExecution(ctx, b.instance, res)
		b.stream(ctx, e, err, streamedBody{chunks, res.Trailers, res.Analytics}, res.Metadata, yield)
	}
}

// stream runs e, unless err says that it could not be made, and yields an error if the policy did not let the body end.
func (b *PythonBridge) stream(ctx context.Context, e *execution, err error, body streamedBody, metadata *v1alpha.ExchangeMetadata,
	yield func([]byte, error) bool,
) {
	var action *executorv1.Action
	if err == nil {
		e.generation = b.group.generations.ofExchange(metadata)
		linkStream(ctx, e)
		action, err = b.group.stream(ctx, e, body, yield)
	}
	if err == nil {
		storeWork(ctx, action)
		err = streamEnd(action, &body, metadata)
	}
	if err != nil && !errors.Is(err, errIterationStopped) {
		yield(nil, err)
	}
}

// workKey is the context key of the variable that receives an execution's working time.
type workKey struct{}

// WithWork has one execution store how long the policy's function ran.
func (b *PythonBridge) WithWork(ctx context.Context, work *time.Duration) context.Context {
	return context.WithValue(ctx, workKey{}, work)
}

// storeWork stores the working time that an action reports.
func storeWork(ctx context.Context, action *executorv1.Action) {
	if work, ok := ctx.Value(workKey{}).(*time.Duration); ok {
		*work = time.Duration(action.GetWorkUs()) * time.Microsecond
	}
}

// linkKey is the context key of a stream's link.
type linkKey struct{}

// link connects a stream with the stream of whose output its body consists.
type link struct {
	source *link // nil: none
	stream atomic.Pointer[execution]
}

// WithSource links one stream to its source, if that runs in an executor too.
func (b *PythonBridge) WithSource(ctx, source context.Context) context.Context {
	l := &link{}
	if source != nil {
		l.source, _ = source.Value(linkKey{}).(*link)
	}
	return context.WithValue(ctx, linkKey{}, l)
}

// linkStream makes e the stream of its context's link, and gives it its source.
func linkStream(ctx context.Context, e *execution) {
	l, ok := ctx.Value(linkKey{}).(*link)
	if !ok {
		return
	}
	l.stream.Store(e)
	if l.source != nil {
		e.body.source = l.source.stream.Load()
	}
}

// Close informs the executors that the instance gets no further executions. Further calls have no effect.
func (b *PythonBridge) Close() error {
	b.closing.Do(func() { b.group.removeInstance(b.instance) })
	return nil
}

// Standing returns why no serving process has the instance ready; nil if one has, or is about to.
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
		status := p.status()
		if status.failure == nil {
			return nil
		}
		failure = status.failure
	}
	if failure == nil {
		return nil
	}
	return failure
}

// KeepsDeadlines marks that both hooks return promptly once their context is done.
func (b *PythonBridge) KeepsDeadlines() {}

// withDeadline adds a deadline to a context that has none.
func withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, longestExchange)
}
