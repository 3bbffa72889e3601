package chain

import (
	"bytes"
	"context"
	"io"
	"sync"

	"gatewright.dev/policy-engine/internal/chain/shadow"
	"gatewright.dev/sdk/policy/v1alpha"
)

// The reasons for which a body cannot be copied.
const (
	onlyPart = "a range of the response came; with this policy in place upstream is asked for the whole"
	noMemory = "there is no room for its copy of the body: those of all shadow attachments together may take a quarter of --body-memory"
)

// bodyTarget is a message of a copy, whose body is copied.
type bodyTarget struct {
	to    *message
	limit int64
}

func (t *bodyTarget) Add(piece []byte) (more bool, reason string) {
	if !t.add(piece, t.to.declared) {
		return false, noMemory
	}
	return t.to.body.size <= t.limit, "" // a policy whose body is larger fails by it
}

func (t *bodyTarget) End() { t.to.ended = true }

// add adds a copy of the next piece of a body of declared bytes, and reports whether there is room.
func (t *bodyTarget) add(piece []byte, declared int64) bool {
	return t.to.body.add(bytes.Clone(piece), declared) && t.to.body.size <= t.to.body.budget.largest()
}

// copyBody gives the task a copy of the part of the body that has come, and of the rest as it comes.
// ctx is the exchange's: if it ends first, the body does not come.
func (p *sandboxPhase) copyBody(ctx context.Context, task *shadow.Task, from *message, front FrontEnd) {
	settings, to := &p.attachment.settings, p.captured.messageOf(p.phase)
	if from.direction == Response && from.isPart() && !passesEncoded(settings.Mode) {
		task.Skip(onlyPart)
		return
	}
	if from.exceeds(settings.MaxBodyBytes) {
		to.declared = max(from.declared, from.body.size) // so that the policy fails by it
		return
	}
	if from.refused {
		task.Skip(noMemory)
		return
	}
	target := &bodyTarget{to, settings.MaxBodyBytes}
	for _, piece := range from.body.pieces {
		if !target.add(piece, 0) {
			task.Skip(noMemory)
			return
		}
	}
	to.replaced = from.replaced
	if to.ended = from.ended || from.replaced || !from.delivered; to.ended {
		return
	}
	copying := task.CopyBody(ctx, target)
	if from.stage != nil {
		from.stage.copies = append(from.stage.copies, copying)
	} else {
		front.(*copiedFront).addCopy(from.direction, copying) //nolint:forcetypeassert // a chain that copies bodies has one
	}
}

// copiedFront is the front end of an exchange whose bodies are copied for shadow attachments.
type copiedFront struct {
	FrontEnd
	mutex  sync.Mutex
	copies [2][]*shadow.BodyCopy
}

func (f *copiedFront) addCopy(direction Direction, copying *shadow.BodyCopy) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.copies[direction] = append(f.copies[direction], copying)
}

func (f *copiedFront) copyPiece(direction Direction, piece []byte, err error) {
	f.mutex.Lock()
	copies := f.copies[direction]
	f.mutex.Unlock()
	for _, copying := range copies {
		copying.Add(piece, err)
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
