package chain

import (
	"context"
	"net/http"
	"strings"

	"gatewright.dev/sdk/policy/v1alpha"
)

func (x *exchange) awaitResponse(ctx context.Context) error {
	head, err := x.front.Response(x.waitContext(ctx))
	if err != nil {
		return err
	}
	x.response = newMessage(x.front, Response, head, x.chain.mode.WantsResponseBody(), x.chain)
	x.status = head.Status
	x.settleAttempts()
	if x.method == http.MethodHead || isEmpty(head.Status) {
		x.response.declared = 0 // content-length describes a body that does not come
	}
	x.refuseResponse(head)
	return nil
}

// isEmpty reports whether a response with this status has no body, regardless of its headers.
func isEmpty(status int) bool {
	return status == http.StatusNoContent || status == http.StatusNotModified
}

// passResponse runs the policy at index at, which passes the response on or answers it.
func (x *exchange) passResponse(ctx context.Context, at int) error {
	step := &x.chain.steps[at]
	if x.streams != nil {
		if err := x.endRequest(); err != nil || x.streams.origin == at {
			return err
		}
	}
	if x.isSkipped(at) {
		return nil
	}
	if step.hasResponseHook() {
		if err := x.endStream(x.readResponseBody(ctx, at)); err != nil {
			return err
		}
		if x.streams != nil && x.streams.origin == at {
			return nil
		}
		if err := x.executeResponse(ctx, step); err != nil || x.running.answers {
			return err
		}
	} else if step.shadows != nil {
		x.runShadows(ctx, step, PhaseResponse)
	}
	if step.streamResponse != nil && x.head.Method != http.MethodHead && !isEmpty(x.status) {
		return x.endStream(x.startStream(ctx, &x.response, at))
	}
	return nil
}

// readResponseBody is readRequestBody for the response: from the instance at index at to the first.
func (x *exchange) readResponseBody(ctx context.Context, at int) error {
	limit := int64(-1)
	for ; at >= 0; at-- {
		instance := x.chain.spec.Instances[at]
		settings := &instance.settings
		if x.isSkipped(at) {
			continue
		}
		if !settings.Mode.BuffersResponseBody() {
			if limit < 0 {
				return nil
			}
			if instance.streamResponse != nil {
				break
			}
			continue
		}
		limit = max(limit, settings.MaxBodyBytes)
		if settings.OnError.For(v1alpha.ClassBodyTooLarge) == Fail {
			break
		}
	}
	return x.response.read(x.waitContext(ctx), limit)
}

func (x *exchange) onResponse(ctx context.Context, i *Instance) (v1alpha.ResponseAction, *v1alpha.Failure) {
	headers := x.response.headersFor(i, i.settings.Mode.WantsResponseBody())
	response := &x.inputs.response
	if !i.neverBlocks {
		response = &v1alpha.ResponseContext{}
	}
	*response = v1alpha.ResponseContext{StatusCode: x.status, Headers: headers, Metadata: &x.metadata}
	var failure *v1alpha.Failure
	if i.settings.Mode.BuffersResponseBody() {
		if response.Body, failure = x.response.bodyFor("response", i); failure != nil {
			return nil, failure
		}
	}
	if response.Request, failure = x.answeredRequest(i); failure != nil {
		return nil, failure
	}
	if !x.reserveCopies(response.Body, response.Request.Body) {
		return nil, overBudget("response body")
	}
	defer x.releaseCopies(response.Body, response.Request.Body)
	return execute(ctx, i, i.onResponse, response, &x.running.Work)
}

// answeredRequest returns the request as the response phase sees it, with its body for a policy that asks for it.
func (x *exchange) answeredRequest(i *Instance) (*v1alpha.RequestContext, *v1alpha.Failure) {
	if x.sent == nil {
		x.sent = x.requestContext(&v1alpha.RequestContext{})
	}
	if !i.settings.Mode.RequestBodyInResponse {
		return x.sent, nil
	}
	var failure *v1alpha.Failure
	withBody := *x.sent
	request := &x.request
	if x.streams != nil && x.streams.kept.front != nil {
		request = &x.streams.kept
	}
	withBody.Headers = request.headersFor(i, true)
	if withBody.Body, failure = request.bodyFor("request", i); failure != nil {
		return nil, failure
	}
	return &withBody, nil
}

// executeResponse is executeRequest for the response.
func (x *exchange) executeResponse(ctx context.Context, step *step) error {
	x.beginExecution(step, PhaseResponse)
	defer x.endExecution()
	if x.watched != nil {
		ctx = x.watchBegin(ctx)
	}
	if step.shadows != nil {
		x.prepareShadows(ctx)
	}
	action, failure := x.onResponse(ctx, step.Instance)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if failure == nil {
		failure = x.applyResponse(action)
	}
	if x.running.complete(failure); failure != nil && !x.running.Continued {
		x.answerProblem(failure, false)
	}
	return nil
}

func (x *exchange) applyResponse(action v1alpha.ResponseAction) *v1alpha.Failure {
	switch a := action.(type) {
	case *v1alpha.ImmediateResponse:
		return x.applyImmediate(a)
	case *v1alpha.UpstreamResponseModifications:
		return x.modifyResponse(a)
	}
	return nil
}

func (x *exchange) modifyResponse(m *v1alpha.UpstreamResponseModifications) *v1alpha.Failure {
	if m == nil {
		return nil
	}
	if m.Body != nil && x.running.step.streamResponse != nil {
		return v1alpha.Failf(v1alpha.ClassBadAction, "response modifications: body: expected none of a policy that streams the body; yield it")
	}
	if err := checkResponse(m); err != nil {
		return v1alpha.Failf(v1alpha.ClassBadAction, "response modifications: %v", err)
	}
	if failure := x.response.change(m.Headers, m.Body); failure != nil {
		return v1alpha.Failf(failure.Class, "response modifications: %s", failure.Message)
	}
	x.running.newBody = m.Body != nil
	if m.StatusCode != 0 && m.StatusCode != x.status {
		x.status, x.grpcStatus = m.StatusCode, 0
	}
	x.analytics = merge(x.analytics, m.AnalyticsMetadata)
	return nil
}

// policyDetails marks answers and failures of policies in the access log, policyAnswer a policy's answer.
const (
	policyDetails = "policy_"
	policyAnswer  = policyDetails + "answer"
)

// applyImmediate makes a policy's answer the response, in either phase.
func (x *exchange) applyImmediate(a *v1alpha.ImmediateResponse) *v1alpha.Failure {
	if a == nil {
		return nil
	}
	if err := checkImmediate(a); err != nil {
		return v1alpha.Failf(v1alpha.ClassBadAction, "immediate response: %v", err)
	}
	held := body{budget: x.chain.spec.Bodies}
	if !held.trySet(a.Body) {
		return overBudget("immediate response: the policy's body")
	}
	x.answer(a, held, policyAnswer, 0)
	x.running.Answered = true
	return nil
}

// answerProblem makes the response an error about the failure. A gRPC client gets a status and a message.
func (x *exchange) answerProblem(failure *v1alpha.Failure, request bool) {
	x.answerFault(faultOf(failure.Class, request), policyDetails+string(failure.Class))
}

func (x *exchange) answerFault(f fault, details string) {
	answer := Problem(f.status, f.detail, x.head.RequestID)
	if x.grpc {
		answer = &v1alpha.ImmediateResponse{StatusCode: f.status, Body: []byte(f.detail)}
	}
	held := body{budget: x.chain.spec.Bodies}
	held.set(answer.Body)
	x.answer(answer, held, details, f.grpcStatus)
}

// answer makes a the response, with the held body.
func (x *exchange) answer(a *v1alpha.ImmediateResponse, held body, details string, grpcStatus uint32) {
	if x.streams != nil {
		x.endStreams()
		x.keepAnalytics()
	}
	x.running.answers = true
	headers := lowerCase(a.Headers)
	x.response.dropAll()
	x.response = message{direction: Response, headers: newHeaderList(headers), body: held, ended: true, bodiless: true}
	x.answered, x.status, x.details, x.grpcStatus = true, a.StatusCode, details, grpcStatus
	x.analytics = merge(x.analytics, a.AnalyticsMetadata)
}

// answerOwn makes the gateway's own answer the response.
func (x *exchange) answerOwn(own *Answer) {
	held := body{budget: x.chain.spec.Bodies}
	held.set(own.Body)
	x.answer(&v1alpha.ImmediateResponse{StatusCode: own.Status, Headers: own.Headers, Body: own.Body}, held, own.Details, 0)
}

// lowerCase returns the headers of a policy's answer with names in lower case.
func lowerCase(original []v1alpha.Header) v1alpha.Headers {
	headers := make(v1alpha.Headers, len(original))
	for n, header := range original {
		headers[n] = v1alpha.Header{Name: strings.ToLower(header.Name), Value: header.Value}
	}
	return headers
}

// sendResponse lets the response go to the client.
func (x *exchange) sendResponse(ctx context.Context) error {
	head := x.head.Method == http.MethodHead
	empty := isEmpty(x.status)
	if !x.answered && (head || empty) {
		x.response.dropBody(head)
	}
	if err := x.settleResponse(ctx); err != nil {
		return err
	}
	if x.answered {
		return x.front.Answer(x.finalAnswer())
	}
	changes := Changes{Analytics: x.analytics, Identity: x.newIdentity()}
	if !head && !empty {
		x.encodeResponse()
		x.response.syncContentLength()
	}
	if x.readsResponse() {
		x.response.withdrawRanges()
	}
	if x.status != x.response.status {
		changes.Status = x.status
	}
	if x.streams != nil {
		return x.streamResponse(x.waitContext(ctx), changes)
	}
	return x.response.send(ctx, changes)
}

// finalAnswer keeps the body of an answer to HEAD: the front end takes its length, and does not send it.
func (x *exchange) finalAnswer() Answer {
	whole, _ := x.response.body.whole() // an answer's body is in one piece
	answer := Answer{
		Status: x.status, Headers: x.response.headers.view, Body: whole,
		Details: x.details, Analytics: x.analytics, Identity: x.newIdentity(),
	}
	if isEmpty(x.status) {
		answer.Body = nil
	}
	if x.grpc {
		answer.GRPCStatus = x.grpcStatus
	}
	return answer
}
