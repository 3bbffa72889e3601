package shadow

import (
	"context"
	"errors"
	"io"
	"sync"
)

// Body is the copy of a body that a policy reads.
type Body interface {
	// Add adds a piece, which it copies. It reports whether the policy needs the rest, or why it cannot get the body.
	Add(piece []byte) (more bool, reason string)
	// End comes behind the last piece.
	End()
}

// BodyCopy copies a body as it passes: it delays nothing, and requests no more of the body.
type BodyCopy struct {
	task *Task
	body Body

	mutex sync.Mutex
	done  bool
	stop  func() bool // stops waiting for the exchange's end
}

// errExchangeOver says that no more of a body will come.
var errExchangeOver = errors.New("the exchange is over")

// CopyBody has the task wait for the rest of a body, whose pieces the caller adds. If ctx, the exchange's, ends first, the
// task is skipped.
func (t *Task) CopyBody(ctx context.Context, body Body) *BodyCopy {
	t.waits.Add(1)
	c := &BodyCopy{task: t, body: body}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.stop = context.AfterFunc(ctx, func() { c.Add(nil, errExchangeOver) })
	return c
}

// Add copies a piece, or ends the copy: io.EOF is the end of the body.
func (c *BodyCopy) Add(piece []byte, err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.done {
		return
	}
	switch {
	case errors.Is(err, io.EOF):
		c.body.End()
	case err != nil:
		c.task.Skip(noBody)
	default:
		more, reason := c.body.Add(piece)
		if more {
			return
		}
		if reason != "" {
			c.task.Skip(reason)
		}
	}
	c.done = true
	c.stop()
	c.task.Release()
}
