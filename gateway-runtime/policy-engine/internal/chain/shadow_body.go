package chain

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"

	"gatewright.dev/sdk/policy/v1alpha"
)

// bodyCopy copies a body for a shadow attachment as it passes: it delays nothing, and requests no more of the body.
type bodyCopy struct {
	task  *shadowTask
	to    *message
	limit int64

	mutex sync.Mutex
	done  bool
	stop  func() bool // stops waiting for the exchange's end
}

// errExchangeOver says that no more of a body will come.
var errExchangeOver = errors.New("the exchange is over")

// copyBody gives the task a copy of the part of the body that has come, and of the rest as it comes.
func (t *shadowTask) copyBody(ctx context.Context, x *exchange, from, to *message) {
	settings := &t.run.shadow.settings
	limit := settings.MaxBodyBytes
	if from.direction == Response && from.isPart() && !passesEncoded(settings.Mode) {
		t.skip = onlyPart
		return
	}
	if from.exceeds(limit) {
		to.declared = max(from.declared, from.body.size) // so that the policy fails by it
		return
	}
	if from.refused {
		t.skip = noMemory
		return
	}
	for _, piece := range from.body.pieces {
		if !to.body.add(bytes.Clone(piece), 0) || to.body.size > to.body.budget.largest() {
			t.skip = noMemory
			return
		}
	}
	to.replaced = from.replaced
	if to.ended = from.ended || from.replaced || !from.delivered; to.ended {
		return
	}
	t.waits.Add(1)
	copying := &bodyCopy{task: t, to: to, limit: limit}
	copying.mutex.Lock()
	defer copying.mutex.Unlock()
	if from.stage != nil {
		from.stage.copies = append(from.stage.copies, copying)
	} else {
		x.front.(*copiedFront).addCopy(from.direction, copying) //nolint:forcetypeassert // a chain that copies bodies has one
	}
	copying.stop = context.AfterFunc(ctx, func() { copying.add(nil, errExchangeOver) })
}

// add copies a piece, or ends the copy.
func (c *bodyCopy) add(piece []byte, err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.done {
		return
	}
	switch {
	case errors.Is(err, io.EOF):
		c.to.ended = true
	case err != nil:
		c.task.skipBecause(noBody)
	case !c.to.body.add(bytes.Clone(piece), c.to.declared) || c.to.body.size > c.to.body.budget.largest():
		c.task.skipBecause(noMemory)
	case c.to.body.size > c.limit: // so that the policy fails by it
	default:
		return
	}
	c.done = true
	c.stop()
	c.task.release()
}

// copiedFront is the front end of an exchange whose bodies are copied for shadow attachments.
type copiedFront struct {
	FrontEnd
	mutex  sync.Mutex
	copies [2][]*bodyCopy
}

func (f *copiedFront) addCopy(direction Direction, copying *bodyCopy) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.copies[direction] = append(f.copies[direction], copying)
}

func (f *copiedFront) copyPiece(direction Direction, piece []byte, err error) {
	f.mutex.Lock()
	copies := f.copies[direction]
	f.mutex.Unlock()
	for _, copying := range copies {
		copying.add(piece, err)
	}
}

// NextPiece copies the piece.
func (f *copiedFront) NextPiece(ctx context.Context, direction Direction) ([]byte, error) {
	piece, err := f.FrontEnd.NextPiece(ctx, direction)
	f.copyPiece(direction, piece, err)
	return piece, err
}

// SendRest copies the pieces that it sends on.
func (f *copiedFront) SendRest(ctx context.Context, direction Direction) error {
	f.CopyRest(direction, func(piece []byte) {
		if piece == nil {
			f.copyPiece(direction, nil, io.EOF)
		} else {
			f.copyPiece(direction, piece, nil)
		}
	})
	return f.FrontEnd.SendRest(ctx, direction)
}

// decodeFor removes the content codings of a response for a policy that refuses them: in its place the upstream would
// have been asked for none. A body that cannot be decoded stays.
func (m *message) decodeFor(i *Instance) {
	if m.encoding() == "" || !m.ended {
		return
	}
	if _, failure := m.decodedFor("response", i); failure == nil {
		m.sendDecoded()
	} else if failure.Class == v1alpha.ClassBodyTooLarge {
		m.declared = i.settings.MaxBodyBytes + 1
		m.headers.remove("content-encoding") // so that the policy fails by its length, and not by its coding
	}
}
