package shadow

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Bounds limits the waiting and running executions of many attachments together.
type Bounds struct {
	limit int
	ctx   context.Context //nolint:containedctx // of all executions: they belong to no exchange
	stop  context.CancelFunc

	mutex   sync.Mutex
	pending int
	closed  bool
	idle    chan struct{} // closed, once, when the bounds are closed and no execution is pending
	isIdle  func()
}

// NewBounds allows limit executions to wait or run at once.
func NewBounds(limit int) *Bounds {
	b := &Bounds{limit: limit, idle: make(chan struct{})}
	b.isIdle = sync.OnceFunc(func() { close(b.idle) })
	b.ctx, b.stop = context.WithCancel(context.Background())
	return b
}

// Context is the context of all executions. Close ends it.
func (b *Bounds) Context() context.Context { return b.ctx }

// closeLimit bounds Close's wait for executions whose context has ended.
const closeLimit = 5 * time.Second

// Close ends all executions, and waits for their end, at most 5 s. No exchange may be under way.
func (b *Bounds) Close() {
	b.stop()
	b.mutex.Lock()
	b.closed = true
	if b.pending == 0 {
		b.isIdle()
	}
	b.mutex.Unlock()
	limit := time.NewTimer(closeLimit)
	defer limit.Stop()
	select {
	case <-b.idle:
	case <-limit.C:
	}
}

// reserve counts one more execution, and reports whether it is within the limit. The caller releases it in either case.
func (b *Bounds) reserve() bool {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.pending++
	return !b.closed && b.pending <= b.limit
}

func (b *Bounds) release() {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.pending--; b.closed && b.pending == 0 {
		b.isIdle()
	}
}

// waitingPerTurn is the number of waiting executions for each that a shadow attachment may run at once.
const waitingPerTurn = 16

// Turns runs the executions of one shadow attachment, a few at a time.
type Turns struct {
	limit   int
	mutex   sync.Mutex
	running int
	waiting []*Task
}

// NewTurns allows limit executions to run at once.
func NewTurns(limit int) *Turns { return &Turns{limit: limit} }

// isFull reports whether another execution would be refused.
func (t *Turns) isFull() bool {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.running >= t.limit && len(t.waiting) >= t.limit*waitingPerTurn
}

func (t *Turns) fullReason() string {
	return fmt.Sprintf("%d executions of it are under way and %d wait, maxConcurrency and %d times as many", t.limit, t.limit*waitingPerTurn, waitingPerTurn)
}

// submit runs the task, at once or in its turn; false: too many are waiting.
func (t *Turns) submit(task *Task) bool {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	switch {
	case t.running < t.limit:
		t.running++
		go t.work(task)
	case len(t.waiting) < t.limit*waitingPerTurn:
		t.waiting = append(t.waiting, task)
	default:
		return false
	}
	return true
}

func (t *Turns) work(task *Task) {
	for task != nil {
		task.execute()
		task = t.next()
	}
}

func (t *Turns) next() *Task {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if len(t.waiting) == 0 {
		t.running--
		return nil
	}
	task := t.waiting[0]
	t.waiting[0], t.waiting = nil, t.waiting[1:]
	return task
}
