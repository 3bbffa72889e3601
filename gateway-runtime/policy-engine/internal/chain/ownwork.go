package chain

import (
	"sync"
	"time"
)

// ownWork measures a policy's work between its chunks: the time in which a reader waits for the policy, and it does not
// wait itself. If there is a timer, it bounds each such time.
type ownWork struct {
	timer *time.Timer
	limit time.Duration
	idle  *time.Timer // bounds the wait for a chunk

	mu      sync.Mutex
	pulling bool
	asking  bool
	since   time.Duration
	sum     time.Duration
	err     error // of the source
}

func (o *ownWork) setPulling(pulling bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.update(pulling, o.asking)
}

func (o *ownWork) setAsking(s *stage, asking bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.update(o.pulling, asking)
	idle := s.step.settings.StreamIdleTimeout
	switch {
	case idle == 0:
	case !asking:
		o.idle.Stop()
	case o.idle == nil:
		o.idle = time.AfterFunc(idle, s.stopIdle)
	default:
		o.idle.Reset(idle)
	}
}

// stopIdle ends the wait for a chunk, in this stage and in those before it.
func (s *stage) stopIdle() {
	s.cancel(errIdle)
	for before := s.before; before != nil; before = before.before {
		before.cancel(errStreamOver)
	}
}

func (o *ownWork) update(pulling, asking bool) {
	worked, works := o.pulling && !o.asking, pulling && !asking
	o.pulling, o.asking = pulling, asking
	switch {
	case works && !worked:
		o.since = Now()
		if o.timer != nil {
			o.timer.Reset(o.limit)
		}
	case worked && !works:
		o.sum += Now() - o.since
		if o.timer != nil {
			o.timer.Stop()
		}
	}
}

func (o *ownWork) setError(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
}

func (o *ownWork) sourceErr() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

func (o *ownWork) total() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sum
}

func (o *ownWork) stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.timer != nil {
		o.timer.Stop()
	}
	if o.idle != nil {
		o.idle.Stop()
	}
}
