package pythonbridge

import (
	"fmt"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
)

// The limits of a stream's body on its way, in bytes (python_executor.proto, Piece and Credit).
const (
	maxPieceBytes   = 64 << 10
	creditWindow    = 256 << 10         // what a sender begins with, in each direction
	creditGivenBack = creditWindow / 4  // as soon as so much has been taken
	maxWaitingBytes = 2 * maxPieceBytes // of a body that wait for frames, before its next chunk is asked for
)

// outgoingPieces is what waits to be sent of the body that a stream is given, and how much of it may be. The mutex of the
// StreamManager guards it, as it does incomingPieces.
type outgoingPieces struct {
	chunks   [][]byte // none is empty
	size     int      // of all chunks
	credit   int
	last     bool   // the body has ended
	lastSent bool   // and nothing is left to be sent
	trailers []byte // header blob; nil where the message has none
}

// sendable reports whether there is a piece that may be sent now.
func (o *outgoingPieces) sendable() bool {
	return o.credit > 0 && (o.size > 0 || (o.last && !o.lastSent))
}

// full reports whether no further chunk is to be asked for before more is sent.
func (o *outgoingPieces) full() bool { return o.size >= maxWaitingBytes }

func (o *outgoingPieces) add(chunk []byte) {
	o.chunks = append(o.chunks, chunk)
	o.size += len(chunk)
}

func (o *outgoingPieces) end(trailers []byte) { o.last, o.trailers = true, trailers }

// next returns the next piece: what waits, joined, or cut to what a piece may hold.
func (o *outgoingPieces) next(id uint64) *executorv1.Piece {
	piece := &executorv1.Piece{Id: id, Data: o.takeData(min(o.size, maxPieceBytes))}
	o.credit -= len(piece.Data)
	if o.last && o.size == 0 {
		o.lastSent = true
		piece.Last, piece.Trailers = true, o.trailers
	}
	return piece
}

// takeData copies only where several chunks make up the piece.
func (o *outgoingPieces) takeData(size int) (data []byte) {
	o.size -= size
	if len(o.chunks) > 0 && len(o.chunks[0]) >= size {
		return o.takeFirst(size)
	}
	data = make([]byte, 0, size)
	for len(data) < size {
		data = append(data, o.takeFirst(min(size-len(data), len(o.chunks[0])))...)
	}
	return data
}

func (o *outgoingPieces) takeFirst(size int) []byte {
	first := o.chunks[0]
	if o.chunks[0] = first[size:]; len(first) == size {
		o.chunks[0] = nil
		o.chunks = o.chunks[1:]
	}
	return first[:size:size]
}

// give adds credit that the process gives back. An error is a violation of the protocol.
func (o *outgoingPieces) give(bytes int) error {
	if o.credit+bytes > creditWindow {
		return fmt.Errorf("expected at most %d bytes of credit back, got %d", creditWindow-o.credit, bytes)
	}
	o.credit += bytes
	return nil
}

// incomingPieces is what has come of the body that a stream yields and was not taken yet, and how much more may come.
type incomingPieces struct {
	pieces [][]byte
	credit int // that the process has left, as far as is known here
	taken  int // since credit was given back last
}

// add takes in a piece. An error is a violation of the protocol. An empty piece says that the message is to be passed on;
// one that waits says so too.
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

// take returns the next piece, which the next stage has asked for.
func (in *incomingPieces) take() (piece []byte, any bool) {
	if len(in.pieces) == 0 {
		return nil, false
	}
	piece = in.pieces[0]
	in.pieces[0] = nil
	if in.pieces = in.pieces[1:]; len(in.pieces) == 0 {
		in.pieces = nil
	}
	in.taken += len(piece)
	return piece, true
}

// due reports whether credit is to be given back.
func (in *incomingPieces) due() bool { return in.taken >= creditGivenBack }

// giveBack returns how much credit is given back by the next frame.
func (in *incomingPieces) giveBack() (bytes int) {
	bytes, in.taken = in.taken, 0
	in.credit += bytes
	return bytes
}
