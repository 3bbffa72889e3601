package chain

import (
	"context"
	"errors"
	"iter"
	"time"

	"gatewright.dev/sdk/policy/v1alpha"
)

// chunkIterator is a policy's iterator.
type chunkIterator interface {
	// next waits for the policy's next chunk; errEnded is its end.
	next(s *stage) ([]byte, error)
	// stop ends the iterator.
	stop(s *stage)
}

// start makes the policy's iterator, under a slot that the iterator keeps until it has ended.
func (s *stage) start() *v1alpha.Failure {
	if !s.step.acquireSlot() {
		return s.step.overloaded()
	}
	if i := s.step.Instance; i.neverBlocks || i.keepsDeadlines {
		next, stop := iter.Pull2(s.run)
		s.out = &inline{next, stop}
		return nil
	}
	g := &guarded{chunks: make(chan chunkResult, 1), resume: make(chan struct{}), done: make(chan struct{})}
	s.clock.timer = time.NewTimer(time.Hour)
	s.clock.timer.Stop()
	s.clock.limit = s.step.settings.Timeout
	s.out = g
	return nil
}

// run is the policy's iterator, with panics converted to errors.
func (s *stage) run(yield func([]byte, error) bool) {
	err := s.runPolicy(yield)
	if err != nil {
		yield(nil, err)
	}
}

func (s *stage) runPolicy(yield func([]byte, error) bool) (err error) {
	stopped := false
	defer func() {
		if cause := recover(); cause != nil && !stopped {
			err = panicFailure(cause)
		}
	}()
	chunks := s.stream(s.ctx, s.chunks)
	if chunks == nil {
		return errors.New("expected an iterator, got nil")
	}
	for chunk, failure := range chunks {
		if failure == nil {
			if !yield(chunk, nil) {
				stopped = true
				return nil
			}
			continue
		}
		stopped = true
		yield(nil, failure)
		return nil
	}
	return nil
}

// inline runs the policy on the goroutine that pulls.
type inline struct {
	pull func() ([]byte, error, bool)
	end  func()
}

func (i *inline) next(*stage) ([]byte, error) {
	chunk, err, ok := i.pull()
	if !ok {
		return nil, errEnded
	}
	return chunk, err
}

func (i *inline) stop(s *stage) {
	i.end()
	s.step.releaseSlot()
}

// guarded runs the policy on a goroutine of its own, which is abandoned when it is late: it keeps its slot until it
// ends.
type guarded struct {
	chunks  chan chunkResult
	resume  chan struct{}
	done    chan struct{} // closed when the goroutine has ended
	started bool
	late    bool
}

type chunkResult struct {
	chunk []byte
	err   error
}

func (g *guarded) next(s *stage) ([]byte, error) {
	if !g.started {
		g.started = true
		go g.run(s)
	} else {
		select {
		case g.resume <- struct{}{}:
		case <-s.ctx.Done():
			return nil, context.Cause(s.ctx)
		}
	}
	select {
	case out := <-g.chunks:
		return out.chunk, out.err
	case <-s.clock.timer.C:
		g.late = true
		return nil, v1alpha.Failf(v1alpha.ClassTimeout, "the policy neither yielded nor requested a chunk within its timeout, %v", s.step.settings.Timeout)
	case <-s.ctx.Done():
		return nil, context.Cause(s.ctx)
	}
}

func (g *guarded) run(s *stage) {
	defer close(g.done)
	defer s.step.releaseSlot()
	end := errors.New("the policy ended its goroutine")
	defer func() {
		select {
		case g.chunks <- chunkResult{nil, end}:
		case <-s.ctx.Done():
		}
	}()
	s.run(func(chunk []byte, err error) bool {
		select {
		case g.chunks <- chunkResult{chunk, err}:
		case <-s.ctx.Done():
			return false
		}
		select {
		case <-g.resume:
			return true
		case <-s.ctx.Done():
			return false
		}
	})
	end = errEnded
}

// stop gives the policy its timeout to end. One that was late already is abandoned at once.
func (g *guarded) stop(s *stage) {
	switch {
	case !g.started:
		s.step.releaseSlot()
	case !g.late:
		timer := time.NewTimer(s.step.settings.Timeout)
		defer timer.Stop()
		select {
		case <-g.done:
		case <-timer.C:
		}
	}
}
