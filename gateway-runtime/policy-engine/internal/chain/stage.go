package chain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"gatewright.dev/policy-engine/internal/chain/shadow"
	"gatewright.dev/sdk/policy/v1alpha"
)

// stage is a policy that streams a body: an iterator over the body, through the stages before it. The next stage, or
// the end of the direction, calls next; meanwhile the policy asks for its chunks, perhaps from goroutines of its own.
type stage struct {
	step      *step
	index     int // of the policy in the chain
	direction Direction
	ctx       context.Context //nolint:containedctx // the execution's: done when its result is no longer needed
	cancel    context.CancelCauseFunc
	execution Execution
	stream    func(ctx context.Context, chunks v1alpha.Chunks) v1alpha.Chunks // the policy's
	trailers  *v1alpha.Trailers                                               // as the policy sees them
	analytics v1alpha.Analytics                                               // as the policy sees them
	watcher   Watcher                                                         // nil: the exchange is not watched
	metadata  *v1alpha.ExchangeMetadata                                       // for the watcher

	// The sources of the chunks, in order: held, then before or the front end.
	held        body
	shared      bool // held shares its memory with another reader
	before      *stage
	front       FrontEnd
	observer    ExchangeObserver
	whole       bool      // held is the whole body
	decoding    *decoding // removes content codings; asking guards it; nil: the body has none, or the policy gets it as it is
	asking      sync.Mutex
	received    atomic.Bool    // a piece has come from the front end
	demand      atomic.Int32   // untouched, asked or passedBy
	drained     bool           // the last chunk has come; asking guards it
	trailerList headerList     // the trailers after this stage's changes; asking guards them
	hasTrailers bool           // the message has trailers
	left        map[string]any // the policy's analytics, once it has ended well; asking guards them

	copies []*shadow.BodyCopy // of the policy's chunks, for shadow attachments behind it

	out     chunkIterator // the policy's iterator
	peeked  []byte
	hasPeek bool
	yielded bool
	result  error // of an execution that has ended; io.EOF: success
	ended   bool  // the observer has been notified

	clock ownWork
}

// The chunks are either used or passed by, which is decided once: by the policy's first request for one, or before it.
const (
	untouched int32 = iota
	asked
	passedBy
)

// streamEnd is the error of a stream that its policy ends: it says how to answer the client.
type streamEnd struct {
	index   int    // of the policy
	policy  string // the policy's name
	request bool
	failure *v1alpha.Failure
	reject  *v1alpha.ImmediateResponse
	place   string // where it was rejected: " (FILE:LINE)"; "" if unknown
}

// Error is logged if it is too late to answer the client.
func (e *streamEnd) Error() string {
	if e.reject != nil {
		return fmt.Sprintf("%s rejected the message with %d%s after the response had begun, so that the client's stream was reset; "+
			"a stream can answer until its first yield", e.policy, e.reject.StatusCode, e.place)
	}
	return "the stream of " + e.policy + " failed after the response had begun, so that the client's stream was reset: " + e.failure.Error()
}

// Reasons for which a stream's context is done.
var (
	errStreamOver = errors.New("the stream is no longer needed")
	errIdle       = errors.New("no chunk has come")
)

// errEnded is the result of pulling from an iterator that has ended.
var errEnded = errors.New("the policy's iterator has ended")

// ---------------------------------------------------------------- pulling

// peek starts the policy, and waits for its first chunk or its end.
func (s *stage) peek() error {
	chunk, err := s.pull()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	s.peeked, s.hasPeek = chunk, err == nil
	return nil
}

// next waits for the policy's next non-empty chunk; io.EOF is the end.
func (s *stage) next() ([]byte, error) {
	chunk, err := s.nextChunk()
	for _, copying := range s.copies {
		copying.Add(chunk, err)
	}
	return chunk, err
}

func (s *stage) nextChunk() ([]byte, error) {
	if s.hasPeek {
		chunk := s.peeked
		s.peeked, s.hasPeek = nil, false
		if len(chunk) > 0 {
			return chunk, nil
		}
	}
	for {
		chunk, err := s.pull()
		if err != nil || len(chunk) > 0 {
			return chunk, err
		}
	}
}

// pull waits for the policy's next chunk.
func (s *stage) pull() ([]byte, error) {
	if s.result != nil {
		return nil, s.result
	}
	s.clock.setPulling(true)
	chunk, err := s.out.next(s)
	s.clock.setPulling(false)
	if cause := s.sourceError(); cause != nil {
		err = cause
	}
	if err != nil {
		return nil, s.finish(err)
	}
	s.yielded = true
	if s.watcher != nil {
		s.watchChunk(Left, chunk)
	}
	return chunk, nil
}

// sourceError returns why the policy's chunks broke off. A policy cannot suppress it.
func (s *stage) sourceError() error {
	if err := s.clock.sourceErr(); err != nil {
		return err
	}
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	return nil
}

// finish ends the execution with the policy's error, or with the reason that it cannot go on, and returns the result.
func (s *stage) finish(err error) error {
	switch {
	case errors.Is(err, errIdle):
		s.complete(v1alpha.Failf(v1alpha.ClassTimeout, "no chunk came within its streamIdleTimeout, %v", s.step.settings.StreamIdleTimeout))
	case s.undecodable() != nil:
		s.complete(s.undecodable())
	case s.sourceError() != nil:
		s.result = err // not the policy's fault: its execution is cancelled
	case errors.Is(err, errEnded):
		s.stop()
		s.complete(s.applyEnd())
	default:
		s.complete(s.reactTo(err))
	}
	s.close()
	return s.result
}

// fail ends the execution with a failure, and returns the result.
func (s *stage) fail(failure *v1alpha.Failure) error {
	s.complete(failure)
	s.close()
	return s.result
}

// complete records how the execution has ended by itself: success, an answer, or a failure. The policy may be left out
// if it has read no chunk, because it was never started.
func (s *stage) complete(end error) {
	s.execution.Cancelled, s.result = false, io.EOF
	if reject, ok := errors.AsType[*streamEnd](end); ok {
		s.result, s.execution.Answered = reject, true
	}
	if failure, ok := errors.AsType[*v1alpha.Failure](end); ok && failure != nil {
		s.execution.Failure = failure
		s.execution.Continued = !s.yielded && s.step.settings.OnError.For(failure.Class) == Continue &&
			slices.Contains(neverStarted, failure.Class) && s.demand.CompareAndSwap(untouched, passedBy)
		s.result = &streamEnd{index: s.index, policy: s.step.name, request: s.direction == Request, failure: failure}
	}
}

// neverStarted are the failures of an execution that was refused before it began.
var neverStarted = []v1alpha.FailureClass{v1alpha.ClassOverloaded, v1alpha.ClassUnavailable, v1alpha.ClassBadBody}

// reactTo converts the error that the policy yielded to an answer or a failure.
func (s *stage) reactTo(err error) error {
	reject, ok := errors.AsType[*v1alpha.Reject](err)
	switch {
	case !ok:
		return classify(s.ctx, err)
	case reject == nil || reject.Response == nil:
		return v1alpha.Failf(v1alpha.ClassBadAction, "reject: expected a response, got none")
	}
	if err := checkImmediate(reject.Response); err != nil {
		return v1alpha.Failf(v1alpha.ClassBadAction, "reject: %v", err)
	}
	end := &streamEnd{index: s.index, policy: s.step.name, reject: reject.Response}
	if reject.File != "" {
		end.place = fmt.Sprintf(" (%s:%d)", reject.File, reject.Line)
	}
	return end
}

// close ends the policy's iterator, and those of the stages before it, whose chunks are no longer needed. It may be
// called again.
func (s *stage) close() {
	s.stop()
	if s.ended {
		return
	}
	s.ended = true
	if s.result == nil {
		s.result = errStreamOver
	}
	s.clock.stop()
	if s.execution.Duration = s.clock.total(); !s.execution.Remote {
		s.execution.Work = s.execution.Duration
	}
	s.step.observer.Ended(s.execution)
	if s.watcher != nil {
		s.watchEnd()
	}
}

// stop ends the iterators, and does not notify the observer.
func (s *stage) stop() {
	s.cancel(errStreamOver)
	for before := s.before; before != nil && !s.execution.Continued; before = before.before {
		before.cancel(errStreamOver)
	}
	s.asking.Lock() // the goroutine that asked for a chunk has returned, and none will ask again
	out := s.out
	s.out = nil
	s.decoding.close()
	s.asking.Unlock()
	if out != nil {
		out.stop(s)
	}
	if s.execution.Continued {
		return
	}
	s.held.drop()
	if s.before != nil {
		s.before.close()
	}
}

// ---------------------------------------------------------------- chunks

// chunks is the iterator that the policy reads.
func (s *stage) chunks(yield func([]byte, error) bool) {
	for {
		chunk, err := s.ask()
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			yield(nil, err)
			return
		case len(chunk) > 0 && !yield(chunk, nil):
			return
		}
	}
}

// ask waits for the policy's next chunk.
func (s *stage) ask() ([]byte, error) {
	s.asking.Lock()
	defer s.asking.Unlock()
	if s.demand.CompareAndSwap(untouched, asked); s.demand.Load() == passedBy {
		return nil, errStreamOver
	}
	if s.ctx.Err() != nil {
		return nil, context.Cause(s.ctx)
	}
	if s.drained {
		return nil, io.EOF
	}
	s.clock.setAsking(s, true)
	chunk, err := s.source()
	s.clock.setAsking(s, false)
	if s.watcher != nil {
		s.watchChunk(Came, chunk)
	}
	if errors.Is(err, io.EOF) {
		s.drained = true
		if trailersErr := s.readTrailers(); trailersErr != nil {
			err = trailersErr
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		if cause := context.Cause(s.ctx); errors.Is(cause, errIdle) {
			err = cause
		}
		s.clock.setError(err)
	}
	return chunk, err
}

// source waits for the next chunk, decoded if need be.
func (s *stage) source() ([]byte, error) {
	if s.decoding == nil {
		return s.piece()
	}
	return s.decoding.next()
}

// piece waits for the next piece from the source.
func (s *stage) piece() ([]byte, error) {
	if chunk, ok := s.held.shift(); ok {
		if s.shared {
			chunk = bytes.Clone(chunk)
		}
		return chunk, nil
	}
	switch {
	case s.whole:
		return nil, io.EOF
	case s.before != nil:
		return s.before.next()
	}
	piece, err := s.front.NextPiece(s.ctx, s.direction)
	if err == nil {
		s.received.Store(true)
		s.observer.Add(BodyBytes[s.direction], uint64(len(piece)))
	}
	return piece, err
}

// hasArrived reports whether the front end has delivered a piece to this stage or to an earlier one.
func (s *stage) hasArrived() bool {
	return s.received.Load() || s.before != nil && s.before.hasArrived()
}

// hasOutput reports whether the policy has passed the message on with a chunk, or with its end: not with the headers
// alone.
func (s *stage) hasOutput() bool { return len(s.peeked) > 0 || s.result != nil }

// finalTrailers returns the changes of the trailers by all policies.
func (s *stage) finalTrailers() v1alpha.HeaderModifications {
	s.asking.Lock()
	defer s.asking.Unlock()
	return s.trailerList.minimalChanges()
}

// readTrailers makes the trailers visible to the policy, behind the last chunk.
func (s *stage) readTrailers() error {
	switch {
	case s.before != nil:
		s.before.asking.Lock()
		s.trailerList, s.hasTrailers = s.before.trailerList, s.before.hasTrailers
		s.before.asking.Unlock()
	case s.front != nil:
		trailers, err := s.front.Trailers(s.direction)
		if err != nil {
			return err
		}
		s.trailerList, s.hasTrailers = newHeaderList(trailers), trailers != nil
	}
	s.trailers.Headers = s.trailerList.view
	return nil
}

// takeAnalytics returns the analytics that the policies have left, each value once: a later policy's take the place of an
// earlier one's.
func (s *stage) takeAnalytics() (left map[string]any) {
	if s.before != nil {
		left = s.before.takeAnalytics()
	}
	s.asking.Lock()
	defer s.asking.Unlock()
	if s.left != nil {
		left = merge(left, s.left)
		s.left = nil
	}
	return left
}

// applyEnd applies the policy's changes of the trailers, and keeps its analytics; or none of them if one is wrong.
func (s *stage) applyEnd() error {
	if err := checkAnalytics(s.analytics.Values); err != nil {
		return v1alpha.Failf(v1alpha.ClassBadAction, "%v", err)
	}
	if err := s.applyTrailers(); err != nil || len(s.analytics.Values) == 0 {
		return err
	}
	s.asking.Lock()
	defer s.asking.Unlock()
	s.left = s.analytics.Values
	return nil
}

// applyTrailers applies the policy's changes of the trailers. A message without trailers gets none.
func (s *stage) applyTrailers() error {
	changes := v1alpha.HeaderModifications{Remove: s.trailers.Remove, Set: s.trailers.Set}
	if err := checkHeaders(changes, s.direction == Request); err != nil {
		return v1alpha.Failf(v1alpha.ClassBadAction, "trailers: %v", err)
	}
	s.asking.Lock()
	defer s.asking.Unlock()
	if !s.hasTrailers {
		return nil
	}
	before := s.trailerList
	if s.trailerList.apply(changes) {
		if err := s.trailerList.checkSize(); err != nil {
			s.trailerList = before
			return v1alpha.Failf(v1alpha.ClassBadAction, "trailers: %v", err)
		}
	}
	return nil
}
