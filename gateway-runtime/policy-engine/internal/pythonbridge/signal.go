package pythonbridge

import (
	"context"
	"sync"
)

// signal wakes all goroutines that wait for a change.
type signal struct {
	mu   sync.Mutex
	next chan struct{}
}

func (s *signal) channel() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.next = make(chan struct{})
	}
	return s.next
}

// broadcast signals a change.
func (s *signal) broadcast() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next != nil {
		close(s.next)
		s.next = nil
	}
}

// await returns when check is done or fails, calling it after each change, or with ctx's error.
func (s *signal) await(ctx context.Context, check func() (bool, error)) error {
	for {
		changed := s.channel()
		if done, err := check(); done || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
