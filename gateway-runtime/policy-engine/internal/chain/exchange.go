package chain

import (
	"context"
	"maps"
	"strings"

	"gatewright.dev/sdk/policy/v1alpha"
)

// exchange is one HTTP exchange in a chain.
type exchange struct {
	chain    *Chain
	front    FrontEnd
	head     Head // of the request, as the client sent it
	grpc     bool
	metadata v1alpha.ExchangeMetadata
	running  running
	inputs   inputs
	streams  *streams      // nil unless a policy streams a body
	watched  *watchedFront // nil: the exchange is not watched
	shadowed *shadowed     // nil unless shadow attachments run beside it
	skipped  []bool        // by index in the chain: the policy does not apply; nil: all apply

	state
	pathParams   v1alpha.PathParams // of the path as the client sent it
	pathUpstream struct{ path, upstream, of string }
	responded    bool     // the proxy answered before the request had come in
	identity     Identity // the last one sent
	planned      bool     // the plan of its consumer has been reported
}

// inputs have room for the input of a policy that never blocks: its hook returns before the exchange goes on, and an
// input is valid no longer than that.
type inputs struct {
	request  v1alpha.RequestContext
	response v1alpha.ResponseContext
}

// state is the part of an exchange that policies see and change.
type state struct {
	request, response message
	attributes
}

// attributes are the state beside the messages, whose bodies may be on their way while the attributes are copied.
type attributes struct {
	method, path, query, authority string
	upstream                       string                  // that policies chose; "" for the route's own
	attempts                       []v1alpha.Attempt       // that policies named in place of one upstream
	sent                           *v1alpha.RequestContext // the request as policies see it in the response phase

	answered   bool // the response is the gateway's own
	status     int
	details    string
	grpcStatus uint32

	analytics map[string]any // not yet sent
}

func newExchange(c *Chain, front FrontEnd, watcher Watcher) *exchange {
	head := front.Request()
	path, query, _ := strings.Cut(head.Path, "?")
	x := &exchange{chain: c, front: front, head: head, grpc: isGRPC(head.Headers), pathParams: c.template.paramsOf(path)}
	x.method, x.path, x.query, x.authority = head.Method, path, query, head.Authority
	if watcher != nil {
		x.watched = &watchedFront{FrontEnd: front, Watcher: watcher, exchange: x}
		x.front = x.watched
	}
	if c.copiesBodies {
		x.front = &copiedFront{FrontEnd: x.front}
	}
	x.request = newMessage(x.front, Request, head, c.mode.WantsRequestBody(), c)
	x.request.readLimit = c.spec.RequestLimit
	return x
}

// ---------------------------------------------------------------- request

// passRequest runs the policy at index at, which passes the request on or answers it.
func (x *exchange) passRequest(ctx context.Context, at int) error {
	step := &x.chain.steps[at]
	if step.settings.When != nil && !x.applies(ctx, at) {
		return nil
	}
	if step.hasRequestHook() {
		if err := x.readRequestBody(ctx, at); err != nil || x.responded || x.answered {
			return err
		}
		if err := x.executeRequest(ctx, step); err != nil || x.answered {
			return err
		}
	} else if step.shadows != nil {
		x.runShadows(ctx, step, PhaseRequest)
	}
	if step.streamRequest != nil {
		return x.endStream(x.startStream(ctx, &x.request, at))
	}
	return nil
}

// readRequestBody reads as much of the body as the instance at index at, and those that run with it, may see.
func (x *exchange) readRequestBody(ctx context.Context, at int) error {
	limit := int64(-1)
	for _, instance := range x.chain.spec.Instances[at:] {
		if !instance.settings.Mode.BuffersRequestBody() {
			if limit < 0 {
				return nil
			}
			if instance.streamRequest != nil {
				break
			}
			continue
		}
		limit = max(limit, instance.settings.MaxBodyBytes)
		if instance.settings.OnError.For(v1alpha.ClassBodyTooLarge) == Fail {
			break
		}
	}
	return x.endStream(x.request.read(ctx, limit))
}

func (x *exchange) onRequest(ctx context.Context, i *Instance) (v1alpha.RequestAction, *v1alpha.Failure) {
	request := x.requestContext(x.requestInput(i))
	request.Headers = x.request.headersFor(i, i.settings.Mode.WantsRequestBody())
	if i.settings.Mode.BuffersRequestBody() {
		var failure *v1alpha.Failure
		if request.Body, failure = x.request.bodyFor("request", i); failure != nil {
			return nil, failure
		}
	}
	if !x.reserveCopies(request.Body) {
		return nil, overBudget("request body")
	}
	defer x.releaseCopies(request.Body)
	return execute(ctx, i, i.onRequest, request, &x.running.Work)
}

// reserveCopies charges the copies of bodies that a policy has while it runs, if they fit. The caller gives them back
// by releaseCopies after the policy has run.
func (x *exchange) reserveCopies(bodies ...[]byte) bool {
	return x.chain.spec.Bodies.reserve(sizeOf(bodies))
}

func (x *exchange) releaseCopies(bodies ...[]byte) { x.chain.spec.Bodies.charge(-sizeOf(bodies)) }

func sizeOf(bodies [][]byte) (size int64) {
	for _, body := range bodies {
		size += int64(len(body))
	}
	return size
}

// release ends the streams, and gives back the memory of bodies.
func (x *exchange) release() {
	if x.streams != nil {
		x.endStreams()
		x.streams.kept.dropAll()
	}
	x.request.dropAll()
	x.response.dropAll()
	if x.shadowed != nil {
		x.shadowed.end()
	}
}

// requestInput is the memory for the policy's next input.
func (x *exchange) requestInput(i *Instance) *v1alpha.RequestContext {
	if i.neverBlocks {
		return &x.inputs.request
	}
	return &v1alpha.RequestContext{}
}

// requestContext writes the present request to `to`.
func (x *exchange) requestContext(to *v1alpha.RequestContext) *v1alpha.RequestContext {
	*to = v1alpha.RequestContext{
		RequestID: x.head.RequestID, Method: x.method, Path: x.chain.spelling.normalize(x.path), RawPath: x.path, Query: x.query, Scheme: x.head.Scheme,
		Authority: x.authority, ClientAddress: x.head.ClientAddress, Peer: x.head.Peer, Upstream: x.upstream, UpstreamPath: x.upstreamPath(),
		APIName:    x.chain.spec.API,
		APIContext: x.chain.spec.Context, APIVersion: x.chain.spec.APIVersion, Operation: x.chain.spec.Operation, PathParams: x.pathParams,
		Headers: x.request.headers.view, HasBody: x.request.hasBody, Metadata: &x.metadata,
	}
	return to
}

// upstreamPath computes the path once for each combination of path and upstream.
func (x *exchange) upstreamPath() string {
	if cached := &x.pathUpstream; cached.path != x.path || cached.upstream != x.upstream || cached.of == "" {
		cached.path, cached.upstream, cached.of = x.path, x.upstream, x.chain.rewritePath(x.path, x.upstream)
	}
	return x.pathUpstream.of
}

// executeRequest executes the policy on the request, and applies its action, or reacts to its failure.
func (x *exchange) executeRequest(ctx context.Context, step *step) error {
	x.beginExecution(step, PhaseRequest)
	defer x.endExecution()
	if x.watched != nil {
		ctx = x.watchBegin(ctx)
	}
	if step.shadows != nil {
		x.prepareShadows(ctx)
	}
	action, failure := x.onRequest(ctx, step.Instance)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if failure == nil {
		failure = x.applyRequest(action)
	}
	if x.running.complete(failure); failure != nil && !x.running.Continued {
		x.answerProblem(failure, true)
	}
	return nil
}

func (x *exchange) applyRequest(action v1alpha.RequestAction) *v1alpha.Failure {
	switch a := action.(type) {
	case *v1alpha.ImmediateResponse:
		return x.applyImmediate(a)
	case *v1alpha.UpstreamRequestModifications:
		return x.modifyRequest(a)
	}
	return nil
}

func (x *exchange) modifyRequest(m *v1alpha.UpstreamRequestModifications) *v1alpha.Failure {
	if m == nil {
		return nil
	}
	if m.Body != nil && x.running.step.streamRequest != nil {
		return v1alpha.Failf(v1alpha.ClassBadAction, "request modifications: body: expected none of a policy that streams the body; yield it")
	}
	if err := checkRequest(m, x.chain.spec.Context, x.chain.spec.Upstreams); err != nil {
		return v1alpha.Failf(v1alpha.ClassBadAction, "request modifications: %v", err)
	}
	if err := x.chain.checkAttempts(m); err != nil {
		return v1alpha.Failf(v1alpha.ClassBadAction, "request modifications: %v", err)
	}
	if failure := x.request.change(m.Headers, m.Body); failure != nil {
		return v1alpha.Failf(failure.Class, "request modifications: %s", failure.Message)
	}
	x.running.newBody = m.Body != nil
	replace(&x.method, m.Method)
	replace(&x.path, m.Path)
	replace(&x.query, m.Query)
	replace(&x.authority, m.Authority)
	x.chooseUpstream(m)
	x.analytics = merge(x.analytics, m.AnalyticsMetadata)
	return nil
}

func replace(part *string, by *string) {
	if by != nil {
		*part = *by
	}
}

func merge(into, from map[string]any) map[string]any {
	if into == nil {
		return maps.Clone(from)
	}
	maps.Copy(into, from)
	return into
}

// sendRequest sends the request upstream, unless the proxy has answered it.
func (x *exchange) sendRequest(ctx context.Context) error {
	if x.responded {
		return nil
	}
	if err := x.request.settle(ctx); err != nil {
		return err
	}
	if x.request.changesCoding() {
		x.request.markRecoded()
	}
	x.request.syncContentLength()
	if x.readsResponse() {
		x.request.headers.set("accept-encoding", x.upstreamAccepts())
		x.askForWhole()
	}
	changes := Changes{Analytics: x.analytics, Upstream: x.upstream, Attempts: x.attempts, Identity: x.newIdentity()}
	x.analytics = nil
	if x.method != x.head.Method {
		changes.Method = x.method
	}
	if x.authority != x.head.Authority {
		changes.Authority = x.authority
	}
	if path := x.pathAndQuery(); path != x.head.Path {
		changes.Path = path
	}
	if x.request.stage != nil {
		return x.streamRequest(ctx, changes)
	}
	err := x.request.send(ctx, changes)
	if !x.keepsRequestBody() {
		x.request.dropAll()
	}
	return err
}

func (x *exchange) pathAndQuery() string {
	path, query, _ := strings.Cut(x.head.Path, "?")
	switch {
	case x.path == path && x.query == query:
		return x.head.Path
	case x.query == "":
		return x.path
	}
	return x.path + "?" + x.query
}
