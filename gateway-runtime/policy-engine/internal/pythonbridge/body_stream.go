package pythonbridge

import (
	"context"
	"errors"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/sdk/policy/v1alpha"
)

// bodyStream is what an execution that is a stream has beyond the others.
//
// Two goroutines move it. That of whoever iterates what the policy yields submits the execution, takes the pieces that
// come, and ends it. One more, the feeder, asks for the chunks of the body: a generator may yield without taking one.
// It begins when the process has acknowledged the frame of the execution. Until then nothing of the body is taken, and the
// execution may be refused, or go to another process, like any other.
//
// Nothing here measures how long a policy takes: the executor does, and answers TIMEOUT. A stream whose executor does not
// answer any more ends with the session, by the process's health checks.
type bodyStream struct {
	timeout time.Duration // for the policy's own work; and for the process to take the execution in
	news    chan struct{} // it was started, or a piece has come; one place
	room    chan struct{} // more of the body is to be asked for; one place
	left    chan struct{} // closed when nobody iterates any more

	// Guarded by the mutex of the execution's home.
	started bool // the process has acknowledged the execution
	yielded bool // a piece has come
	hasTurn bool // among the turns of the pieceQueue
	out     outgoingPieces
	in      incomingPieces
}

func newBodyStream(timeout time.Duration) *bodyStream {
	return &bodyStream{
		timeout: timeout, news: make(chan struct{}, 1), room: make(chan struct{}, 1), left: make(chan struct{}),
		out: outgoingPieces{credit: creditWindow}, in: incomingPieces{credit: creditWindow},
	}
}

// hasBegun reports whether a stream can no longer be given to another process: what it was sent may be read by nobody else,
// and what it has yielded may be out.
func (b *bodyStream) hasBegun() bool { return b != nil && (b.started || b.yielded) }

// errLeft says that whoever iterates what a policy yields wants no more of it.
var errLeft = errors.New("nobody iterates the stream any more")

// streamedBody is what a stream is given. The trailers have come when the chunks have ended; nil: there are none.
type streamedBody struct {
	chunks   v1alpha.Chunks
	trailers *v1alpha.Trailers
}

// converse runs a submitted stream to its end: it gives body to the policy, and what that yields to yield. It returns the
// action that the stream ended with, or errLeft where yield wants no more. The execution has ended then. The feeder ends at
// once, or, where it waits for a chunk, with that wait: at the latest when ctx is done.
func (e *execution) converse(ctx context.Context, body streamedBody, yield func([]byte, error) bool) (*executorv1.Action, error) {
	result, answered := outcome{}, false
	defer func() { e.leave(answered) }()
	late := time.NewTimer(e.body.timeout)
	defer late.Stop()
	for fed := false; ; {
		next := e.takeNews()
		if next.started && !fed {
			fed = true
			late.Stop()
			go e.feed(ctx, body)
		}
		switch {
		case ctx.Err() != nil:
			return nil, contextFailure(ctx, false)
		case next.any && !yield(next.piece, nil):
			return nil, errLeft
		case next.any:
			continue
		case answered:
			return result.action, result.err
		}
		select {
		case <-e.body.news:
		case result = <-e.answers:
			answered = true
		case <-late.C:
			e.breakOff(true, failTimeout)
		case <-ctx.Done():
			return nil, contextFailure(ctx, false)
		}
	}
}

// leave ends the execution where it has not ended, and gives back what it holds.
func (e *execution) leave(answered bool) {
	close(e.body.left)
	if !answered {
		e.breakOff(false, errLeft)
		<-e.answers
	}
	answerChannels.Put(e.answers)
}

// breakOff ends the execution with an error, and has the process told, unless it has ended already.
func (e *execution) breakOff(timedOut bool, err error) {
	if ended, logged := e.abandon(timedOut); ended {
		if logged {
			err = failTimeoutLogged
		}
		e.answers <- outcome{err: err}
	}
}

// feed gives the policy the chunks of the body, and its end. It waits where enough of them wait for frames.
func (e *execution) feed(ctx context.Context, body streamedBody) {
	home := e.home.Load() // a stream that was started stays where it is
	for chunk, err := range body.chunks {
		if err != nil {
			e.breakOff(false, err)
			return
		}
		more, full := home.offerChunk(e, chunk)
		if !more || (full && !e.awaitRoom()) {
			return
		}
	}
	if ctx.Err() != nil { // chunks may have ended because of that
		return
	}
	trailers, err := trailersBlob(body.trailers)
	if err != nil {
		e.breakOff(false, err)
		return
	}
	home.endBody(e, trailers)
}

// awaitRoom waits until more of the body is to be asked for, and reports whether it is.
func (e *execution) awaitRoom() bool {
	select {
	case <-e.body.room:
		return true
	case <-e.body.left:
		return false
	}
}

// news is what a stream has for whoever iterates what its policy yields.
type news struct {
	started bool
	piece   []byte
	any     bool // there is a piece, which may be empty
}

// takeNews takes the next piece, if there is one.
func (e *execution) takeNews() news {
	if home := e.home.Load(); home != nil {
		return home.takeNews(e)
	}
	return news{} // it moves to another process
}
