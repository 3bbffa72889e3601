package chain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"sync"

	"gatewright.dev/sdk/policy/v1alpha"
)

// streams is the state of an exchange whose policies stream a body.
type streams struct {
	// The contexts of the streams of a direction, and of the waits of its phase.
	contexts [2]context.Context //nolint:containedctx // the exchange's
	stop     [2]context.CancelCauseFunc
	origin   int     // index of the policy whose stream answered, and does not see the answer; -1: none
	kept     message // the request as it was when its whole body was last held, for policies that ask for it in the response phase

	sent        chan struct{} // closed when the request's body has been sent, or has failed; nil: it is not being sent
	mu          sync.Mutex
	err         error // the error of sending it
	headersSent bool  // the response's headers have left: it is too late for an answer
}

// makeStreams makes the streams' state at its first use.
func (x *exchange) makeStreams(ctx context.Context) {
	if x.streams != nil {
		return
	}
	x.streams = &streams{origin: -1}
	for direction := range x.streams.contexts {
		x.streams.contexts[direction], x.streams.stop[direction] = context.WithCancelCause(ctx)
	}
}

// waitContext is the context of waits in the response phase: it ends when a stream of the request ends the exchange.
func (x *exchange) waitContext(ctx context.Context) context.Context {
	return x.contextOf(ctx, Response)
}

// contextOf is the context of streams of a direction, and of waits for its body.
func (x *exchange) contextOf(ctx context.Context, direction Direction) context.Context {
	if x.streams == nil || x.answered {
		return ctx
	}
	return x.streams.contexts[direction]
}

// endStreams ends all streams: the response is the gateway's own, or the exchange is over.
func (x *exchange) endStreams() {
	for _, stop := range x.streams.stop {
		stop(errStreamOver)
	}
	if x.streams.sent != nil {
		<-x.streams.sent
	}
	for _, m := range [...]*message{&x.request, &x.response} {
		if m.stage != nil {
			m.stage.close()
		}
	}
}

// keepAnalytics keeps those of streams that had ended before the answer, which goes in the place of their messages' ends.
func (x *exchange) keepAnalytics() {
	for _, m := range [...]*message{&x.request, &x.response} {
		if m.stage != nil {
			x.analytics = merge(x.analytics, m.stage.takeAnalytics())
		}
	}
}

// endStream makes the end of a stream the answer, if a policy has ended it or a read of the request has taken too long.
// It returns any other error.
func (x *exchange) endStream(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, ErrResponded) {
		x.responded = true
		if x.request.stage != nil {
			x.request.stage.close()
		}
		return nil
	}
	if errors.Is(err, errUnfinished) {
		x.answerFault(unfinished, unfinishedDetails)
		return nil
	}
	end, ok := errors.AsType[*streamEnd](err)
	if !ok {
		return err
	}
	x.streams.origin = end.index
	failure := end.failure
	if end.reject != nil {
		failure = x.applyImmediate(end.reject)
	}
	if failure != nil {
		x.answerProblem(failure, end.request)
	}
	return nil
}

// endRequest makes the end of the request's streams the answer, if a policy has ended them while the body was being
// sent.
func (x *exchange) endRequest() error {
	if x.answered {
		return nil
	}
	x.streams.mu.Lock()
	err := x.streams.err
	x.streams.mu.Unlock()
	return x.endStream(err)
}

// ---------------------------------------------------------------- starting

// startStream has the policy stream the message's body, and waits for its first chunk, with which it passes the message
// on.
func (x *exchange) startStream(ctx context.Context, m *message, at int) error {
	if err := m.settle(x.waitContext(ctx)); err != nil {
		return err
	}
	x.makeStreams(ctx)
	s, failure := x.newStage(x.contextOf(ctx, m.direction), m, at)
	s.step.observer.Began()
	if x.watched != nil {
		s.watchBegin(x)
	}
	if failure == nil {
		failure = s.start()
	}
	if failure != nil {
		s.complete(failure)
		s.close()
	} else if inMemory := m.bodiless || m.ended && !m.hasArrived(); inMemory {
		return x.gather(m, s)
	} else if s.peek() == nil {
		m.setStage(s)
		return nil
	}
	if s.execution.Continued {
		m.restoreBody(s)
		return nil
	}
	return s.result
}

// restoreBody restores the body of a policy that was never started, and so is left out.
func (m *message) restoreBody(s *stage) {
	budget := m.body.budget
	m.body = s.held
	m.body.budget = budget
}

// newStage makes a stage of the policy, with the part of the body that is held.
func (x *exchange) newStage(ctx context.Context, m *message, at int) (*stage, *v1alpha.Failure) {
	s := &stage{
		step: &x.chain.steps[at], index: at, direction: m.direction, before: m.stage, front: m.front, observer: m.observer, whole: m.ended,
		trailers:  &v1alpha.Trailers{},
		execution: Execution{RequestID: x.head.RequestID, Phase: PhaseRequestStream, Cancelled: true},
	}
	if measured := s.step.measured; measured != nil {
		s.execution.Remote = true
		ctx = measured.WithWork(ctx, &s.execution.Work)
	}
	var failure *v1alpha.Failure
	if m.direction == Request {
		x.prepareRequest(s)
	} else {
		s.execution.Phase = PhaseResponseStream
		failure = x.prepareResponse(s)
	}
	if failure == nil {
		s.decoding, failure = m.decodingFor(s)
	}
	m.dropDecoded()
	s.held, m.body = m.body, body{budget: x.chain.spec.Bodies}
	if links := s.step.links; links != nil {
		ctx = links.WithSource(ctx, x.sourceOf(s))
	}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	return s, failure
}

// sourceOf returns the context of the stage before s if its output may go to s without a way through the engine: s gets
// all of it and unchanged, and nothing here needs to see it on its way. Else nil.
func (x *exchange) sourceOf(s *stage) context.Context {
	before := s.before
	switch {
	case before == nil, s.whole, s.held.size > 0, s.decoding != nil:
		return nil
	case x.watched != nil, len(before.copies) > 0, s.step.settings.StreamIdleTimeout > 0:
		return nil
	}
	return before.ctx
}

func (x *exchange) prepareRequest(s *stage) {
	seen := x.requestContext(&v1alpha.RequestContext{})
	seen.Headers, seen.Trailers, seen.Analytics = x.request.headersFor(s.step.Instance, true), s.trailers, &s.analytics
	policy := s.step.streamRequest
	s.stream = func(ctx context.Context, chunks v1alpha.Chunks) v1alpha.Chunks {
		return policy.OnRequestStream(ctx, seen, chunks)
	}
	if x.anyHasMode(s.index, wantsRequestBodyInResponse) {
		x.keepRequest()
		s.shared = true
	}
}

func (x *exchange) prepareResponse(s *stage) *v1alpha.Failure {
	seen := &v1alpha.ResponseContext{
		StatusCode: x.status, Headers: x.response.headersFor(s.step.Instance, true), Trailers: s.trailers, Analytics: &s.analytics, Metadata: &x.metadata,
	}
	policy := s.step.streamResponse
	s.stream = func(ctx context.Context, chunks v1alpha.Chunks) v1alpha.Chunks {
		return policy.OnResponseStream(ctx, seen, chunks)
	}
	var failure *v1alpha.Failure
	seen.Request, failure = x.answeredRequest(s.step.Instance)
	return failure
}

// keepRequest keeps the request as it is, for policies that ask for its body in the response phase, unless the body has
// been partly streamed already and was kept before. The request that goes on shares its memory.
func (x *exchange) keepRequest() {
	if x.streams.kept.front != nil && x.request.stage != nil && !x.request.ended {
		return
	}
	x.streams.kept.dropAll()
	x.streams.kept = x.request
	x.request.decoded = nil
	x.request.body = body{pieces: slices.Clone(x.request.body.pieces), size: x.request.body.size}
}

// setStage makes the stage the source of the rest of the body.
func (m *message) setStage(s *stage) {
	m.stage, m.ended, m.replaced, m.declared, m.refused = s, false, false, 0, false
	if m.headers.view.Has("content-length") {
		m.headers.remove("content-length")
	}
	m.dropCodings(s)
}

// gather has the policy stream a body that is in memory, or an empty one, and holds the output.
func (x *exchange) gather(m *message, s *stage) error {
	hadBody := s.held.size > 0
	output := body{budget: x.chain.spec.Bodies}
	for {
		chunk, err := s.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = s.addTo(&output, chunk)
		}
		if err != nil {
			output.drop()
			if s.execution.Continued {
				m.restoreBody(s)
				return nil
			}
			return err
		}
	}
	x.analytics = merge(x.analytics, s.takeAnalytics())
	if !hadBody && output.size == 0 {
		return nil
	}
	whole, ok := output.whole()
	if !ok {
		output.drop()
		return &streamEnd{index: s.index, policy: s.step.name, request: s.direction == Request, failure: overBudget("what the policy yields")}
	}
	if whole == nil {
		output.set([]byte{})
	}
	m.body, m.replaced, m.hasBody = output, true, output.size > 0
	m.dropCodings(s)
	return nil
}

// addTo adds a chunk to the output, or ends the execution if it does not fit.
func (s *stage) addTo(output *body, chunk []byte) error {
	fits := output.add(chunk, 0)
	switch limit := s.step.settings.MaxBodyBytes; {
	case output.size > limit:
		return s.fail(v1alpha.Failf(v1alpha.ClassBodyTooLarge, "what the policy yields: expected at most maxBodyBytes, %d, got more", limit))
	case !fits:
		return s.fail(overBudget("what the policy yields"))
	}
	return nil
}

// ---------------------------------------------------------------- sending

// streamRequest sends the request's headers, and its body; in a goroutine of its own if the response is awaited.
func (x *exchange) streamRequest(ctx context.Context, changes Changes) error {
	s := x.streams
	ctx = x.contextOf(ctx, Request)
	if x.keepsRequestBody() {
		x.keepRequest()
	}
	if err := x.request.sendHeaders(&changes); err != nil || !changes.Follows {
		return err
	}
	if !x.chain.mode.WantsResponse() {
		return x.request.sendBody(ctx)
	}
	s.sent = make(chan struct{})
	go func() {
		defer close(s.sent)
		if err := sendBody(ctx, &x.request); err != nil {
			s.mu.Lock()
			s.err = err
			s.mu.Unlock()
			s.stop[Response](err)
		}
	}()
	return nil
}

// sendBody converts a panic to an error.
func sendBody(ctx context.Context, m *message) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
		}
	}()
	return m.sendBody(ctx)
}

// settleResponse makes the response ready to leave. After that, the end of a stream ends the exchange.
func (x *exchange) settleResponse(ctx context.Context) error {
	if x.answered {
		return nil
	}
	if err := x.endStream(x.response.settle(x.waitContext(ctx))); err != nil || x.answered || x.streams == nil {
		return err
	}
	s := x.streams
	s.mu.Lock()
	s.headersSent = s.err == nil
	err := s.err
	s.mu.Unlock()
	return x.endStream(err)
}

// streamResponse sends the response, and waits until the request's body has gone.
func (x *exchange) streamResponse(ctx context.Context, changes Changes) error {
	s := x.streams
	err := x.response.send(ctx, changes)
	if s.sent == nil {
		return err
	}
	if err == nil {
		err = x.front.Finish(ctx)
	}
	if err != nil {
		s.stop[Request](err)
	}
	<-s.sent
	if err == nil {
		err = s.err
	}
	return err
}
