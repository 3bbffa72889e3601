package pythonbridge

import (
	"context"
	"encoding/json"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/sdk/policy/v1alpha"
)

// messageOverhead is the approximate size of an execution in a frame without its text.
const messageOverhead = 96

// requestExecution makes a call of on_request. It keeps no reference to req.
func requestExecution(ctx context.Context, target *instance, req *v1alpha.RequestContext) (*execution, error) {
	e, err := newExecution(ctx, target, executorv1.Phase_PHASE_REQUEST, req.Metadata)
	if err != nil {
		return nil, err
	}
	text := newTextBuilder(requestSize(req))
	if err := e.setRequest(text, req); err != nil {
		return nil, err
	}
	return e, e.measure(text)
}

// responseExecution makes a call of on_response, with the request as it went upstream.
func responseExecution(ctx context.Context, target *instance, res *v1alpha.ResponseContext) (*execution, error) {
	e, err := newExecution(ctx, target, executorv1.Phase_PHASE_RESPONSE, res.Metadata)
	if err != nil {
		return nil, err
	}
	text := newTextBuilder(requestSize(res.Request) + headersSize(res.Headers) + len(res.Body))
	if err := e.setRequest(text, res.Request); err != nil {
		return nil, err
	}
	e.message.Status = uint32(res.StatusCode)
	e.message.ResponseBody = text.body(res.Body)
	if e.message.ResponseHeaders, err = text.headers(res.Headers); err != nil {
		return nil, err
	}
	return e, e.measure(text)
}

// requestStreamExecution makes a call of on_request_stream.
func requestStreamExecution(ctx context.Context, target *instance, req *v1alpha.RequestContext) (*execution, error) {
	e, err := requestExecution(ctx, target, req)
	if err != nil {
		return nil, err
	}
	e.becomeStream(executorv1.Phase_PHASE_REQUEST_STREAM)
	return e, nil
}

// responseStreamExecution makes a call of on_response_stream.
func responseStreamExecution(ctx context.Context, target *instance, res *v1alpha.ResponseContext) (*execution, error) {
	e, err := responseExecution(ctx, target, res)
	if err != nil {
		return nil, err
	}
	e.becomeStream(executorv1.Phase_PHASE_RESPONSE_STREAM)
	return e, nil
}

// becomeStream makes the body of an execution come in pieces. Its timeout also bounds the wait until it is sent.
func (e *execution) becomeStream(phase executorv1.Phase) {
	e.message.Phase = phase
	e.body = newBodyStream(e.instance.streamTimeout)
	e.deadline = time.Now().Add(e.body.timeout)
}

func newExecution(ctx context.Context, target *instance, phase executorv1.Phase, metadata *v1alpha.ExchangeMetadata) (*execution, error) {
	if ctx.Err() != nil {
		return nil, contextFailure(ctx, false)
	}
	e := &execution{instance: target, answers: answerChannels.Get().(chan outcome)}
	e.deadline, _ = ctx.Deadline()
	e.message.Phase = phase
	if metadata != nil {
		text, err := metadata.JSON()
		if err != nil {
			return nil, v1alpha.Failf(v1alpha.ClassException, "metadata of the exchange: %v", err)
		}
		e.message.Metadata = text
	}
	e.message.Traceparent = traceparent(ctx)
	return e, nil
}

func requestSize(req *v1alpha.RequestContext) int {
	return len(req.RequestID) + len(req.Method) + len(req.Path) + len(rawPath(req)) + len(req.UpstreamPath) + len(req.Query) + len(req.Scheme) +
		len(req.Authority) + len(req.ClientAddress) + len(req.Operation) + len(req.Upstream) + pathParamsSize(req.PathParams) +
		headersSize(req.Headers) + len(req.Body)
}

// rawPath is empty if the path has only one spelling, as most have.
func rawPath(req *v1alpha.RequestContext) string {
	if req.RawPath == req.Path {
		return ""
	}
	return req.RawPath
}

// contextSize is the length of the API's context in the path, which a policy cannot change.
func contextSize(req *v1alpha.RequestContext) uint32 {
	if req.APIContext == "/" {
		return 0
	}
	return uint32(len(req.APIContext)) //nolint:gosec // the controller accepts contexts of at most 1,024 characters
}

func (e *execution) setRequest(text *textBuilder, req *v1alpha.RequestContext) (err error) {
	m := &e.message
	m.RequestId = text.text(req.RequestID)
	m.Method = text.text(req.Method)
	m.Path = text.text(req.Path)
	m.RawPath = text.text(rawPath(req))
	m.ContextSize = contextSize(req)
	m.UpstreamPath = text.text(req.UpstreamPath)
	m.Query = text.text(req.Query)
	m.Scheme = text.text(req.Scheme)
	m.Authority = text.text(req.Authority)
	m.ClientAddress = text.text(req.ClientAddress)
	m.Operation = text.text(req.Operation)
	m.Upstream = text.text(req.Upstream)
	m.PathParams = text.pathParams(req.PathParams)
	if req.Peer != nil {
		if m.Peer, err = peerJSON(req.Peer); err != nil {
			return err
		}
	}
	m.HasBody = req.HasBody
	m.RequestBody = text.body(req.Body)
	m.RequestHeaders, err = text.headers(req.Headers)
	return err
}

// peerJSON is encoded once for each peer, and used by all of its executions.
func peerJSON(peer *v1alpha.Peer) ([]byte, error) {
	text, err := peer.JSON()
	if err != nil {
		return nil, v1alpha.Failf(v1alpha.ClassException, "peer of the request: %v", err)
	}
	return text, nil
}

func (e *execution) measure(text *textBuilder) error {
	e.size = len(text.buffer) + len(e.message.Metadata) + len(e.message.Peer) + messageOverhead
	e.alone = len(e.message.RequestBody) > aloneBodyBytes || len(e.message.ResponseBody) > aloneBodyBytes
	if e.size > maxExecutionBytes {
		return v1alpha.Failf(v1alpha.ClassBodyTooLarge, "expected an execution of at most %d bytes, got %d; lower maxBodyBytes", maxExecutionBytes, e.size)
	}
	return nil
}

// requestAction converts the result of on_request. The exchange's metadata changes only if the whole action is valid.
func requestAction(action *executorv1.Action, metadata *v1alpha.ExchangeMetadata) (v1alpha.RequestAction, error) {
	read, err := readAction(action)
	if err != nil {
		return nil, err
	}
	if action.GetStatusCode() != 0 {
		return nil, v1alpha.Failf(v1alpha.ClassBadAction, "expected no status_code from on_request, got %d; return an ImmediateResponse", action.GetStatusCode())
	}
	if err := mergeMetadata(metadata, action); err != nil {
		return nil, err
	}
	switch {
	case read.immediate != nil:
		return read.immediate, nil
	case read.nothing && !changesTarget(action):
		return nil, nil
	}
	attempts, err := readAttempts(action.GetAttempts())
	if err != nil {
		return nil, err
	}
	return &v1alpha.UpstreamRequestModifications{
		Attempts: attempts,
		Headers:  read.headers, Body: read.body, AnalyticsMetadata: read.analytics,
		Path: optionalText(action.Path), Query: optionalText(action.Query),
		Method: optionalText(action.Method), Authority: optionalText(action.Authority), Upstream: optionalText(action.Upstream),
	}, nil
}

// responseAction converts the result of on_response.
func responseAction(action *executorv1.Action, metadata *v1alpha.ExchangeMetadata) (v1alpha.ResponseAction, error) {
	read, err := readAction(action)
	if err != nil {
		return nil, err
	}
	if changesTarget(action) {
		return nil, v1alpha.Failf(v1alpha.ClassBadAction, "expected no path, query, method, authority, upstream or attempts from on_response, got one")
	}
	if err := mergeMetadata(metadata, action); err != nil {
		return nil, err
	}
	switch {
	case read.immediate != nil:
		return read.immediate, nil
	case read.nothing && action.GetStatusCode() == 0:
		return nil, nil
	}
	return &v1alpha.UpstreamResponseModifications{
		Headers: read.headers, Body: read.body, StatusCode: int(action.GetStatusCode()), AnalyticsMetadata: read.analytics,
	}, nil
}

// streamEnd converts the end of a stream: an error, which is a *v1alpha.Reject if the policy answers itself, or nil.
// Metadata, trailers and analytics change only if the whole action is valid.
func streamEnd(action *executorv1.Action, body *streamedBody, metadata *v1alpha.ExchangeMetadata) error {
	read, err := readAction(action)
	if err != nil {
		return err
	}
	if read.immediate == nil && (read.modified || changesTarget(action) || action.GetStatusCode() != 0) {
		return v1alpha.Failf(v1alpha.ClassBadAction, "expected a stream to end with trailers, metadata, analytics or an ImmediateResponse, "+
			"got other changes of the message; make them in on_request or on_response")
	}
	remove, err := nameList("remove_trailers", action.GetRemoveTrailers())
	if err != nil {
		return err
	}
	set, err := headerList("set_trailers", action.GetSetTrailers())
	if err != nil {
		return err
	}
	if err := mergeMetadata(metadata, action); err != nil {
		return err
	}
	if read.immediate != nil {
		raised := action.GetImmediateResponse()
		return &v1alpha.Reject{Response: read.immediate, File: raised.GetFile(), Line: int(raised.GetLine())}
	}
	if body.trailers != nil {
		body.trailers.Remove, body.trailers.Set = remove, set
	}
	if body.analytics != nil {
		body.analytics.Values = read.analytics
	}
	return nil
}

// trailersBlob is nil if the message has no trailers.
func trailersBlob(trailers *v1alpha.Trailers) ([]byte, error) {
	if trailers == nil || trailers.Headers == nil {
		return nil, nil
	}
	return newTextBuilder(headersSize(trailers.Headers)).headers(trailers.Headers)
}

// actionParts are the parts that actions of both phases have.
type actionParts struct {
	headers   v1alpha.HeaderModifications
	body      *[]byte
	analytics map[string]any
	immediate *v1alpha.ImmediateResponse
	modified  bool // there are headers or a body
	nothing   bool // none of the above
}

func readAction(action *executorv1.Action) (parts actionParts, err error) {
	if action.GetFailure() != nil {
		return parts, failureFrom(action.GetFailure())
	}
	if parts.headers, err = readHeaders(action); err != nil {
		return parts, err
	}
	if action.Body != nil {
		parts.body = &action.Body
	}
	if len(action.GetAnalyticsMetadata()) > 0 {
		if err := json.Unmarshal(action.GetAnalyticsMetadata(), &parts.analytics); err != nil {
			return parts, v1alpha.Failf(v1alpha.ClassBadAction, "expected analytics metadata as a JSON object: %v", err)
		}
	}
	if action.GetImmediateResponse() != nil {
		parts.immediate, err = immediateResponse(action.GetImmediateResponse(), parts.analytics)
	}
	parts.modified = len(parts.headers.Remove)+len(parts.headers.Set)+len(parts.headers.Append) > 0 || parts.body != nil
	parts.nothing = !parts.modified && parts.analytics == nil && parts.immediate == nil
	return parts, err
}

func readHeaders(action *executorv1.Action) (headers v1alpha.HeaderModifications, err error) {
	if headers.Remove, err = nameList("remove_headers", action.GetRemoveHeaders()); err != nil {
		return headers, err
	}
	if headers.Set, err = headerList("set_headers", action.GetSetHeaders()); err != nil {
		return headers, err
	}
	headers.Append, err = headerList("append_headers", action.GetAppendHeaders())
	return headers, err
}

func immediateResponse(answer *executorv1.ImmediateResponse, analytics map[string]any) (*v1alpha.ImmediateResponse, error) {
	headers, err := headerList("immediate_response.headers", answer.GetHeaders())
	if err != nil {
		return nil, err
	}
	return &v1alpha.ImmediateResponse{
		StatusCode: int(answer.GetStatusCode()), Headers: headers, Body: answer.GetBody(), AnalyticsMetadata: analytics,
	}, nil
}

func changesTarget(action *executorv1.Action) bool {
	return action.Path != nil || action.Query != nil || action.Method != nil || action.Authority != nil || action.Upstream != nil ||
		len(action.GetAttempts()) > 0
}

func readAttempts(messages []*executorv1.Attempt) ([]v1alpha.Attempt, error) {
	var attempts []v1alpha.Attempt
	for _, message := range messages {
		set, err := headerList("attempts.set_headers", message.GetSetHeaders())
		if err != nil {
			return nil, err
		}
		attempt := v1alpha.Attempt{Upstream: string(message.GetUpstream()), Set: set, Path: optionalText(message.Path)}
		if message.Body != nil {
			attempt.Body = &message.Body
		}
		attempts = append(attempts, attempt)
	}
	return attempts, nil
}

func optionalText(value []byte) *string {
	if value == nil {
		return nil
	}
	text := string(value)
	return &text
}

func mergeMetadata(metadata *v1alpha.ExchangeMetadata, action *executorv1.Action) error {
	if len(action.GetMetadataSet()) == 0 && len(action.GetMetadataRemoved()) == 0 {
		return nil
	}
	if metadata == nil {
		return v1alpha.Failf(v1alpha.ClassException, "the exchange has no metadata to write to")
	}
	if err := metadata.Merge(action.GetMetadataSet(), action.GetMetadataRemoved()); err != nil {
		return v1alpha.Failf(v1alpha.ClassBadAction, "metadata_set of the action: %v", err)
	}
	return nil
}

var failureClasses = map[executorv1.FailureClass]v1alpha.FailureClass{
	executorv1.FailureClass_FAILURE_CLASS_TIMEOUT:        v1alpha.ClassTimeout,
	executorv1.FailureClass_FAILURE_CLASS_OVERLOADED:     v1alpha.ClassOverloaded,
	executorv1.FailureClass_FAILURE_CLASS_UNAVAILABLE:    v1alpha.ClassUnavailable,
	executorv1.FailureClass_FAILURE_CLASS_CRASHED:        v1alpha.ClassCrashed,
	executorv1.FailureClass_FAILURE_CLASS_EXCEPTION:      v1alpha.ClassException,
	executorv1.FailureClass_FAILURE_CLASS_BAD_ACTION:     v1alpha.ClassBadAction,
	executorv1.FailureClass_FAILURE_CLASS_BODY_TOO_LARGE: v1alpha.ClassBodyTooLarge,
	executorv1.FailureClass_FAILURE_CLASS_BAD_BODY:       v1alpha.ClassBadBody,
}

// failureFrom converts a failure; a class that this engine does not know is an exception.
func failureFrom(failure *executorv1.Failure) *v1alpha.Failure {
	class, ok := failureClasses[failure.GetFailureClass()]
	if !ok {
		class = v1alpha.ClassException
	}
	message := failure.GetMessage()
	if failure.GetHook() != "" {
		message = failure.GetHook() + ": " + message
	}
	if failure.GetPolicy() != "" {
		message = failure.GetPolicy() + " " + message
	}
	return &v1alpha.Failure{Class: class, Message: message, Logged: failure.GetLogged(), File: failure.GetFile(), Line: int(failure.GetLine())}
}
