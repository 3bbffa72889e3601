package pythonbridge

import (
	"fmt"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
)

// The limits of a stream's body in transit, in bytes (python_executor.proto, Piece and Credit).
const (
	maxPieceBytes   = 64 << 10
	creditWindow    = 256 << 10         // the initial credit of a sender, in each direction
	creditGivenBack = creditWindow / 4  // returned as soon as so many bytes have been read
	maxWaitingBytes = 2 * maxPieceBytes // of a body that wait for frames; only below this is its next chunk requested
)

// outgoingPieces is the part of a stream's body that waits to be sent, and the credit for it. The mutex of the
// StreamManager guards it, and incomingPieces too.
type outgoingPieces struct {
	chunks   [][]byte // none is empty
	size     int      // of all chunks
	credit   int
	last     bool   // the body has ended
	lastSent bool   // and its last piece was sent
	trailers []byte // header blob; nil if the message has none
}

// sendable reports whether there is a piece that may be sent now.
func (o *outgoingPieces) sendable() bool {
	return o.credit > 0 && (o.size > 0 || (o.last && !o.lastSent))
}

// full reports whether the next chunk must wait until more has been sent.
func (o *outgoingPieces) full() bool { return o.size >= maxWaitingBytes }

func (o *outgoingPieces) add(chunk []byte) {
	o.chunks = append(o.chunks, chunk)
	o.size += len(chunk)
}

func (o *outgoingPieces) end(trailers []byte) { o.last, o.trailers = true, trailers }

// next returns the next piece: the waiting chunks joined, or cut to the size of a piece.
func (o *outgoingPieces) next(id uint64) *executorv1.Piece {
	piece := &executorv1.Piece{Id: id, Data: o.nextData(min(o.size, maxPieceBytes))}
	o.credit -= len(piece.Data)
	if o.last && o.size == 0 {
		o.lastSent = true
		piece.Last, piece.Trailers = true, o.trailers
	}
	return piece
}

// nextData returns the next bytes. It copies only if several chunks make up the piece.
func (o *outgoingPieces) nextData(size int) (data []byte) {
	o.size -= size
	if len(o.chunks) > 0 && len(o.chunks[0]) >= size {
		return o.cutFirst(size)
	}
	data = make([]byte, 0, size)
	for len(data) < size {
		data = append(data, o.cutFirst(min(size-len(data), len(o.chunks[0])))...)
	}
	return data
}

func (o *outgoingPieces) cutFirst(size int) []byte {
	first := o.chunks[0]
	if o.chunks[0] = first[size:]; len(first) == size {
		o.chunks[0] = nil
		o.chunks = o.chunks[1:]
	}
	return first[:size:size]
}

// addCredit adds credit that the process gives back. An error is a violation of the protocol.
func (o *outgoingPieces) addCredit(bytes int) error {
	if o.credit+bytes > creditWindow {
		return fmt.Errorf("expected at most %d bytes of credit back, got %d", creditWindow-o.credit, bytes)
	}
	o.credit += bytes
	return nil
}

// incomingPieces is the received output of a stream that has not been read yet, and the credit of the process.
type incomingPieces struct {
	pieces [][]byte
	credit int // that the process has left, by this side's count
	read   int // bytes read since credit was last given back
}

// add stores a piece. An error is a violation of the protocol. An empty piece only passes the message on, and is not
// needed if another one waits.
func (in *incomingPieces) add(data []byte) error {
	switch {
	case len(data) > maxPieceBytes:
		return fmt.Errorf("expected pieces of at most %d bytes, got one of %d", maxPieceBytes, len(data))
	case len(data) == 0 && len(in.pieces) > 0:
		return nil
	case in.credit <= 0 && len(data) > 0:
		return fmt.Errorf("expected no piece without credit, got one of %d bytes", len(data))
	}
	in.credit -= len(data)
	in.pieces = append(in.pieces, data)
	return nil
}

// pop returns the next piece, for the next stage.
func (in *incomingPieces) pop() (piece []byte, any bool) {
	if len(in.pieces) == 0 {
		return nil, false
	}
	piece = in.pieces[0]
	in.pieces[0] = nil
	if in.pieces = in.pieces[1:]; len(in.pieces) == 0 {
		in.pieces = nil
	}
	in.read += len(piece)
	return piece, true
}

// due reports whether credit is to be given back now.
func (in *incomingPieces) due() bool { return in.read >= creditGivenBack }

// returnCredit returns the credit that the next frame gives back.
func (in *incomingPieces) returnCredit() (bytes int) {
	bytes, in.read = in.read, 0
	in.credit += bytes
	return bytes
}
