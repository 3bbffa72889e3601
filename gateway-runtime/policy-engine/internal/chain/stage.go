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

	"gatewright.dev/sdk/policy/v1alpha"
)

// stage is a policy that streams a body: an iterator over what came of the body, through the stages before it. Whoever
// wants the next piece calls next; the policy asks for its chunks meanwhile, or from goroutines of its own.
type stage struct {
	step      *step
	index     int // of the policy in the chain
	direction Direction
	ctx       context.Context //nolint:containedctx // the execution's: done when nobody waits for it
	cancel    context.CancelCauseFunc
	execution Execution
	stream    func(ctx context.Context, chunks v1alpha.Chunks) v1alpha.Chunks // the policy's
	trailers  *v1alpha.Trailers                                               // that the policy sees
	watcher   Watcher                                                         // nil: nobody looks
	metadata  *v1alpha.ExchangeMetadata                                       // for the watcher

	// Where the chunks come from: held, then before or the front end.
	held     body
	shared   bool // somebody else reads the memory of held
	before   *stage
	front    FrontEnd
	observer ExchangeObserver
	whole    bool      // held is all of it
	decoding *decoding // takes content codings off; asking guards it; nil: there are none, or the policy is given the body as it is
	asking   sync.Mutex
	came     atomic.Bool  // a piece from the front end
	taking   atomic.Int32 // untouched, asked or passedBy
	drained  bool         // the last chunk has come; asking guards it
	tail     headerList   // the trailers, as this stage leaves them; asking guards it
	trailing bool         // there are some

	copies []*bodyCopy // of what it yields, for shadow attachments behind it

	out     pulled // how the policy's chunks are pulled
	peeked  []byte
	hasPeek bool
	yielded bool
	result  error // of an execution that has ended; io.EOF is well
	ended   bool  // the observer knows

	clock ownWork
}

// What becomes of the chunks is decided once: the policy has asked for one, or they pass it by.
const (
	untouched int32 = iota
	asked
	passedBy
)

// streamEnd is the error of a stream that its policy ends: what the client is told.
type streamEnd struct {
	index   int    // of the policy,
	policy  string // whose name is this
	request bool
	failure *v1alpha.Failure
	reject  *v1alpha.ImmediateResponse
	place   string // where it was rejected: " (FILE:LINE)"; "" where that is not known
}

// Error is told where the client cannot be answered any more.
func (e *streamEnd) Error() string {
	if e.reject != nil {
		return fmt.Sprintf("%s rejected the message with %d%s after the response had begun, so that the client's stream was reset; "+
			"a stream can answer until its first yield", e.policy, e.reject.StatusCode, e.place)
	}
	return "the stream of " + e.policy + " failed after the response had begun, so that the client's stream was reset: " + e.failure.Error()
}

// Why a stream's context is done.
var (
	errStreamOver = errors.New("nobody waits for the stream any more")
	errIdle       = errors.New("no chunk has come")
)

// errEnded is what an iterator that has ended pulls.
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

// next waits for the policy's next chunk, which is not empty; io.EOF is the end.
func (s *stage) next() ([]byte, error) {
	chunk, err := s.nextChunk()
	for _, copying := range s.copies {
		copying.take(chunk, err)
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

// pull waits for what the policy yields next.
func (s *stage) pull() ([]byte, error) {
	if s.result != nil {
		return nil, s.result
	}
	s.clock.pull(true)
	chunk, err := s.out.next(s)
	s.clock.pull(false)
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

// sourceError is why the policy's chunks have ended without their end: no policy can keep that to itself.
func (s *stage) sourceError() error {
	if err := s.clock.failed(); err != nil {
		return err
	}
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	return nil
}

// finish ends the execution with the policy's error, or with why it cannot go on, and says what the result is.
func (s *stage) finish(err error) error {
	switch {
	case errors.Is(err, errIdle):
		s.complete(v1alpha.Failf(v1alpha.ClassTimeout, "no chunk came within its streamIdleTimeout, %v", s.step.settings.StreamIdleTimeout))
	case s.undecodable() != nil:
		s.complete(s.undecodable())
	case s.sourceError() != nil:
		s.result = err // not the policy's: its execution is cancelled
	case errors.Is(err, errEnded):
		s.shut()
		s.complete(s.applyTrailers())
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

// complete says how the execution has ended, by itself: well, with an answer, or with a failure. One that has taken no
// chunk, for it was never started, may be gone without.
func (s *stage) complete(end error) {
	s.execution.Cancelled, s.result = false, io.EOF
	if reject, ok := errors.AsType[*streamEnd](end); ok {
		s.result, s.execution.Answered = reject, true
	}
	if failure, ok := errors.AsType[*v1alpha.Failure](end); ok && failure != nil {
		s.execution.Failure = failure
		s.execution.Continued = !s.yielded && s.step.settings.OnError.For(failure.Class) == Continue &&
			slices.Contains(neverStarted, failure.Class) && s.taking.CompareAndSwap(untouched, passedBy)
		s.result = &streamEnd{index: s.index, policy: s.step.name, request: s.direction == Request, failure: failure}
	}
}

// neverStarted are the failures of an execution that was refused before it began.
var neverStarted = []v1alpha.FailureClass{v1alpha.ClassOverloaded, v1alpha.ClassUnavailable, v1alpha.ClassBadBody}

// reactTo makes what the policy yielded an answer or a failure.
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

// close ends the policy's iterator, and those of the stages before it: nobody wants their chunks. It may be called again.
func (s *stage) close() {
	s.shut()
	if s.ended {
		return
	}
	s.ended = true
	if s.result == nil {
		s.result = errStreamOver
	}
	s.clock.stop()
	if s.execution.Duration = s.clock.worked(); !s.execution.Remote {
		s.execution.Work = s.execution.Duration
	}
	s.step.observer.Ended(s.execution)
	if s.watcher != nil {
		s.watchEnd()
	}
}

// shut is close but for the word of it.
func (s *stage) shut() {
	s.cancel(errStreamOver)
	for before := s.before; before != nil && !s.execution.Continued; before = before.before {
		before.cancel(errStreamOver)
	}
	s.asking.Lock() // whoever asks for a chunk has come back, and will not ask again
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

// chunks is what the policy is given.
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

// ask waits for the next chunk, for the policy.
func (s *stage) ask() ([]byte, error) {
	s.asking.Lock()
	defer s.asking.Unlock()
	if s.taking.CompareAndSwap(untouched, asked); s.taking.Load() == passedBy {
		return nil, errStreamOver
	}
	if s.ctx.Err() != nil {
		return nil, context.Cause(s.ctx)
	}
	if s.drained {
		return nil, io.EOF
	}
	s.clock.ask(s, true)
	chunk, err := s.source()
	s.clock.ask(s, false)
	if s.watcher != nil {
		s.watchChunk(Came, chunk)
	}
	if errors.Is(err, io.EOF) {
		s.drained = true
		if failed := s.takeTrailers(); failed != nil {
			err = failed
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		if cause := context.Cause(s.ctx); errors.Is(cause, errIdle) {
			err = cause
		}
		s.clock.fail(err)
	}
	return chunk, err
}

// source waits for the next chunk that the policy is to be given.
func (s *stage) source() ([]byte, error) {
	if s.decoding == nil {
		return s.piece()
	}
	return s.decoding.next()
}

// piece waits for the next piece from where the chunks come from.
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
		s.came.Store(true)
		s.observer.BodyRead(s.direction, len(piece))
	}
	return piece, err
}

// hasArrived reports whether the front end has given a piece to this stage or to one before it.
func (s *stage) hasArrived() bool {
	return s.came.Load() || s.before != nil && s.before.hasArrived()
}

// hasOutput reports whether the policy has passed the message on with a chunk, or with its end: not with the headers alone.
func (s *stage) hasOutput() bool { return len(s.peeked) > 0 || s.result != nil }

// finalTrailers are all policies' changes of the trailers.
func (s *stage) finalTrailers() v1alpha.HeaderModifications {
	s.asking.Lock()
	defer s.asking.Unlock()
	return s.tail.final()
}

// takeTrailers has the policy see the trailers, behind the last chunk.
func (s *stage) takeTrailers() error {
	switch {
	case s.before != nil:
		s.before.asking.Lock()
		s.tail, s.trailing = s.before.tail, s.before.trailing
		s.before.asking.Unlock()
	case s.front != nil:
		trailers, err := s.front.Trailers(s.direction)
		if err != nil {
			return err
		}
		s.tail, s.trailing = newHeaderList(trailers), trailers != nil
	}
	s.trailers.Headers = s.tail.view
	return nil
}

// applyTrailers makes the policy's changes of the trailers. A message that has none gets none.
func (s *stage) applyTrailers() error {
	changes := v1alpha.HeaderModifications{Remove: s.trailers.Remove, Set: s.trailers.Set}
	if err := checkHeaders(changes, s.direction == Request); err != nil {
		return v1alpha.Failf(v1alpha.ClassBadAction, "trailers: %v", err)
	}
	s.asking.Lock()
	defer s.asking.Unlock()
	if !s.trailing {
		return nil
	}
	before := s.tail
	if s.tail.apply(changes) {
		if err := s.tail.oversized(); err != nil {
			s.tail = before
			return v1alpha.Failf(v1alpha.ClassBadAction, "trailers: %v", err)
		}
	}
	return nil
}
