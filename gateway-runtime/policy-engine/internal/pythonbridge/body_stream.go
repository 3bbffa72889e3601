package pythonbridge

import (
	"context"
	"errors"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/sdk/policy/v1alpha"
)

// bodyStream is the state that only executions with a streamed body have.
//
// Two goroutines drive it. The goroutine that iterates the policy's output submits the execution, receives the pieces,
// and ends the execution. A second one, the feeder, asks for the chunks of the body, for a generator may yield without
// reading one. It starts when the process has acknowledged the frame of the execution. Until then no chunk of the body
// is read, and the execution may be refused, or move to another process, like any other.
//
// The engine does not measure a policy's own time: the executor does, and answers TIMEOUT. If an executor stops
// answering, its streams end with the session, by the process's health checks.
//
// The process may give a stream the output of its source itself, and sends the engine none of that. Nothing here depends
// on it: the feeder passes on what comes, and the end.
type bodyStream struct {
	timeout time.Duration // for the policy's own work; and for the process to acknowledge the execution
	changed chan struct{} // the execution was started, or a piece has come; capacity 1
	room    chan struct{} // more of the body may be requested; capacity 1
	done    chan struct{} // closed when the iteration has ended
	source  *execution    // the stream of whose output the body consists; nil: it comes from elsewhere

	// Guarded by the mutex of the execution's home:
	started bool // the process has acknowledged the execution
	yielded bool // a piece has come
	hasTurn bool // it is in the turns of the pieceQueue
	out     outgoingPieces
	in      incomingPieces
}

func newBodyStream(timeout time.Duration) *bodyStream {
	return &bodyStream{
		timeout: timeout, changed: make(chan struct{}, 1), room: make(chan struct{}, 1), done: make(chan struct{}),
		out: outgoingPieces{credit: creditWindow}, in: incomingPieces{credit: creditWindow},
	}
}

// isApartFrom reports whether the stream has a source, and a process other than the source's would run it.
func (b *bodyStream) isApartFrom(m *StreamManager) bool {
	return b != nil && b.source != nil && b.source.home.Load() != m
}

// hasBegun reports whether a stream can no longer move to another process: its body may have been read, and its output
// may have been sent.
func (b *bodyStream) hasBegun() bool { return b != nil && (b.started || b.yielded) }

// errIterationStopped says that the reader of a policy's output has stopped.
var errIterationStopped = errors.New("the stream is no longer iterated")

// streamedBody is the body of a stream, and what the stream leaves with its end. The trailers are complete when the chunks
// have ended; nil: none.
type streamedBody struct {
	chunks    v1alpha.Chunks
	trailers  *v1alpha.Trailers
	analytics *v1alpha.Analytics // nil: none are wanted
}

// converse runs a submitted stream to its end: it passes body to the policy, and the policy's output to yield. It
// returns the final action, or errIterationStopped if yield has stopped. The execution has ended then. The feeder ends
// at once, or with its wait for a chunk: at the latest when ctx is done.
func (e *execution) converse(ctx context.Context, body streamedBody, yield func([]byte, error) bool) (*executorv1.Action, error) {
	result, answered := outcome{}, false
	defer func() { e.close(answered) }()
	startTimer := time.NewTimer(e.body.timeout)
	defer startTimer.Stop()
	for feeding := false; ; {
		next := e.nextEvent()
		if next.started && !feeding {
			feeding = true
			startTimer.Stop()
			go e.feed(ctx, body)
		}
		switch {
		case ctx.Err() != nil:
			return nil, contextFailure(ctx, false)
		case next.any && !yield(next.piece, nil):
			return nil, errIterationStopped
		case next.any:
			continue
		case answered:
			return result.action, result.err
		}
		select {
		case <-e.body.changed:
		case result = <-e.answers:
			answered = true
		case <-startTimer.C:
			e.abort(true, failTimeout)
		case <-ctx.Done():
			return nil, contextFailure(ctx, false)
		}
	}
}

// close ends the execution if it has not ended, and releases its resources.
func (e *execution) close(answered bool) {
	close(e.body.done)
	if !answered {
		e.abort(false, errIterationStopped)
		<-e.answers
	}
	answerChannels.Put(e.answers)
}

// abort ends the execution with an error and has it cancelled in the process, unless it has ended already.
func (e *execution) abort(timedOut bool, err error) {
	if ended, logged := e.abandon(timedOut); ended {
		if logged {
			err = failTimeoutLogged
		}
		e.answers <- outcome{err: err}
	}
}

// feed passes the chunks of the body, and its end, to the process. It pauses while too many of them wait for frames.
func (e *execution) feed(ctx context.Context, body streamedBody) {
	home := e.home.Load() // a started stream does not move
	for chunk, err := range body.chunks {
		if err != nil {
			e.abort(false, err)
			return
		}
		more, full := home.offerChunk(e, chunk)
		if !more || (full && !e.awaitRoom()) {
			return
		}
	}
	if ctx.Err() != nil { // which also ends the chunks
		return
	}
	trailers, err := trailersBlob(body.trailers)
	if err != nil {
		e.abort(false, err)
		return
	}
	home.endBody(e, trailers)
}

// awaitRoom waits until more of the body may be requested; false: the iteration has ended.
func (e *execution) awaitRoom() bool {
	select {
	case <-e.body.room:
		return true
	case <-e.body.done:
		return false
	}
}

// streamEvent is an event for the goroutine that iterates the policy's output.
type streamEvent struct {
	started bool
	piece   []byte
	any     bool // there is a piece, which may be empty
}

// nextEvent returns the next piece, if there is one.
func (e *execution) nextEvent() streamEvent {
	if home := e.home.Load(); home != nil {
		return home.nextEvent(e)
	}
	return streamEvent{} // the execution is moving to another process
}
