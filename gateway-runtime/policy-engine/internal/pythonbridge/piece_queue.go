package pythonbridge

import executorv1 "gatewright.dev/policy-engine/gen/executor/v1"

// maxFramePieceBytes limits the pieces of streams in a frame, apart from its executions: so neither keeps the other
// out, and an execution waits for at most one frame of this size.
const maxFramePieceBytes = 256 << 10

// pieceQueue holds the streaming executions of one process that have pieces or credit for the next frames. The mutex of
// its StreamManager guards it and its executions' bodies. An execution that has ended is skipped when its turn comes.
type pieceQueue struct {
	turns []*execution // have a piece that may be sent; each sends one, and goes to the end
	due   []*execution // owe the process credit

	sent, received traffic
}

// traffic counts pieces, on any stream to the process.
type traffic struct{ pieces, bytes uint64 }

func (t *traffic) count(size int) {
	t.pieces++
	t.bytes += uint64(size)
}

// offer queues a chunk of a stream's body, and reports whether a piece may be sent.
func (q *pieceQueue) offer(e *execution, chunk []byte) bool {
	e.body.out.add(chunk)
	return q.schedule(e)
}

// end marks the end of a stream's body, and reports whether a piece may be sent.
func (q *pieceQueue) end(e *execution, trailers []byte) bool {
	e.body.out.end(trailers)
	return q.schedule(e)
}

// addCredit adds credit from the process, and reports whether a piece may be sent. An error is a violation of the
// protocol.
func (q *pieceQueue) addCredit(e *execution, bytes int) (bool, error) {
	if err := e.body.out.addCredit(bytes); err != nil {
		return false, err
	}
	return q.schedule(e), nil
}

func (q *pieceQueue) schedule(e *execution) bool {
	if !e.body.out.sendable() {
		return false
	}
	if !e.body.hasTurn {
		e.body.hasTurn = true
		q.turns = append(q.turns, e)
	}
	return true
}

// receive stores a piece of a stream's output. An error is a violation of the protocol.
func (q *pieceQueue) receive(e *execution, data []byte) error {
	if err := e.body.in.add(data); err != nil {
		return err
	}
	e.body.yielded = true
	q.received.count(len(data))
	return nil
}

// pop returns the next piece of a stream's output, and whether credit for it is due now.
func (q *pieceQueue) pop(e *execution) (piece []byte, any, owes bool) {
	before := e.body.in.due()
	piece, any = e.body.in.pop()
	if owes = !before && e.body.in.due() && !e.ended.Load(); owes {
		q.due = append(q.due, e)
	}
	return piece, any, owes
}

// reset ends a stream to the process.
func (q *pieceQueue) reset() { q.turns, q.due = nil, nil }

// fillFrame adds the credit that is due, and one piece of each stream in turn until the frame is full.
func (q *pieceQueue) fillFrame(frame *executorv1.RequestFrame) {
	for _, e := range q.due {
		if !e.ended.Load() {
			frame.Credit = append(frame.Credit, &executorv1.Credit{Id: e.message.Id, Bytes: uint32(e.body.in.returnCredit())})
		}
	}
	q.due = nil
	for size := 0; len(q.turns) > 0 && size+maxPieceBytes <= maxFramePieceBytes && len(frame.Pieces) < maxFrameExecutions; {
		e := q.turns[0]
		q.turns[0] = nil
		q.turns = q.turns[1:]
		e.body.hasTurn = false
		if e.ended.Load() {
			continue
		}
		piece := q.next(e)
		frame.Pieces = append(frame.Pieces, piece)
		size += len(piece.Data)
		q.schedule(e)
	}
}

func (q *pieceQueue) next(e *execution) *executorv1.Piece {
	out := &e.body.out
	wasFull := out.full()
	piece := out.next(e.message.Id)
	q.sent.count(len(piece.Data))
	if wasFull && !out.full() {
		notify(e.body.room)
	}
	return piece
}

// notify wakes the goroutine that waits, now or later, for a channel with capacity 1.
func notify(waiter chan<- struct{}) {
	select {
	case waiter <- struct{}{}:
	default:
	}
}
