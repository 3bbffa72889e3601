package dynmodule

import (
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gatewright.dev/policy-engine/internal/extproc"
)

var (
	errGone  = status.Error(codes.Canceled, "Envoy has ended the stream")
	errPanic = errors.New("the exchange panicked")
)

// stream is one filter as an ext_proc stream.
//
// In a coroutine its fields have one thread: that of the worker. In a goroutine the mutex guards them.
type stream struct {
	module   *Module
	id       ID
	exchange *extproc.Exchange
	ctx      context.Context //nolint:containedctx // the stream's own, with the same lifetime
	cancel   context.CancelFunc

	resume func() (struct{}, bool) // runs the coroutine until it waits; nil: the exchange runs in a goroutine
	stop   func()                  // ends it
	pause  func(struct{}) bool     // called in it: waits for a message; false: none comes

	mu        sync.Mutex
	scheduler uintptr // 0: the filter is gone
	committed bool    // Envoy has been asked to call Scheduled, and has not
	arrivals  [][]byte
	room      [1][]byte     // the usual memory of arrivals
	arrived   chan struct{} // closed when a message has come; nil: the goroutine does not wait
	answers   []byte
	unsettled int // heads that have come, less answers that have gone
	ended     bool
	err       error
	gone      bool // the filter is
}

// ---------------------------------------------------------------- extproc.Stream

// Context is cancelled when Envoy has destroyed the filter.
func (s *stream) Context() context.Context { return s.ctx }

// Keep does nothing: no bodies come.
func (*stream) Keep(int) {}

// Receive waits for the next head.
func (s *stream) Receive(ctx context.Context) ([]byte, error) {
	if s.pause != nil {
		return s.receiveHere()
	}
	s.mu.Lock()
	for {
		switch {
		case len(s.arrivals) > 0:
			message := s.arrivals[0]
			s.arrivals = s.arrivals[1:]
			s.mu.Unlock()
			return message, nil
		case s.gone:
			s.mu.Unlock()
			return nil, errGone
		}
		arrived := make(chan struct{})
		s.arrived = arrived
		s.mu.Unlock()
		select {
		case <-arrived:
		case <-ctx.Done():
			if s.ctx.Err() == nil {
				return nil, context.Cause(ctx)
			}
		}
		s.mu.Lock()
	}
}

// receiveHere is Receive in a coroutine.
func (s *stream) receiveHere() ([]byte, error) {
	for len(s.arrivals) == 0 {
		if s.gone || !s.pause(struct{}{}) {
			s.gone = true
			return nil, errGone
		}
	}
	message := s.arrivals[0]
	s.arrivals = s.arrivals[1:]
	return message, nil
}

// Send adds an answer.
func (s *stream) Send(message, rest []byte) error {
	if s.resume != nil {
		s.answers = appendAnswer(s.answers, message, rest)
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return errGone
	}
	s.answers = appendAnswer(s.answers, message, rest)
	s.unsettled--
	s.commit()
	return nil
}

func appendAnswer(answers, message, rest []byte) []byte {
	answers = binary.NativeEndian.AppendUint32(answers, uint32(len(message)+len(rest))) //nolint:gosec // far below 4 GiB
	return append(append(answers, message...), rest...)
}

// ---------------------------------------------------------------- in a coroutine

func (s *stream) startCoroutine() {
	s.resume, s.stop = iter.Pull(func(yield func(struct{}) bool) {
		s.pause = yield
		s.err = s.process()
		s.ended = true
	})
}

// step runs the coroutine until it waits for the response or ends.
func (s *stream) step(room []byte) Result {
	s.answers = room
	s.resume()
	result := Result{ID: s.id, Answers: s.answers}
	s.answers = nil
	if s.ended {
		s.module.streams.remove(s.id)
		s.cancel()
		result.ID, result.Ended, result.Failed = 0, true, s.err != nil
	}
	return result
}

// ---------------------------------------------------------------- in a goroutine

// run is the goroutine of a stream.
func (s *stream) run() {
	defer s.module.running.Done()
	err := errPanic
	defer func() { s.end(err) }() // even if a policy ends the goroutine
	err = s.process()
}

// end ends the stream. Scheduled is needed if a hook waits, or must learn of an error.
func (s *stream) end(err error) {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.err = true, err
	if err != nil || s.unsettled > 0 {
		s.commit()
	}
}

// commit has Envoy call Scheduled, once for all that has happened until then. The mutex is held: the scheduler lives as
// long as the call.
func (s *stream) commit() {
	if s.scheduler != 0 && !s.committed {
		s.committed = true
		s.module.envoy.Commit(s.scheduler)
	}
}

// deliver hands the goroutine a message, and returns what has been answered before.
func (s *stream) deliver(message, room []byte) Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arrivals = append(s.arrivals, message)
	s.unsettled++
	s.wake()
	return s.collect(room)
}

// take returns what has been answered.
func (s *stream) take(room []byte) Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.committed = false
	return s.collect(room)
}

func (s *stream) collect(room []byte) Result {
	result := Result{ID: s.id, Answers: append(room, s.answers...)}
	s.answers = s.answers[:0]
	if s.ended {
		s.leave()
		s.module.streams.remove(s.id)
		result.ID, result.Ended, result.Failed = 0, true, s.err != nil
	}
	return result
}

// abandon ends the stream of a filter that is gone. The goroutine ends by itself.
func (s *stream) abandon() {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leave()
	s.wake()
}

// leave frees the scheduler: nothing is committed any more.
func (s *stream) leave() {
	s.gone = true
	if s.scheduler != 0 {
		s.module.envoy.DeleteScheduler(s.scheduler)
		s.scheduler = 0
	}
}

func (s *stream) wake() {
	if s.arrived != nil {
		close(s.arrived)
		s.arrived = nil
	}
}
