package chain

import "slices"

// body is the part of a message's body that is held: the pieces as they came, joined when a policy reads it. The budget
// is charged with the memory that the pieces take.
type body struct {
	budget *Budget
	pieces [][]byte
	size   int64 // bytes of content
	held   int64 // bytes of memory
}

const (
	// pieceOverhead is what a piece takes besides its bytes: its place in the list, and the message that it came in.
	pieceOverhead = 64
	// smallPiece is the size below which pieces are copied together: a body that comes byte by byte must not cost a piece
	// for each.
	smallPiece = 4 << 10
	// block is the size of the memory in which small pieces are collected.
	block = 16 << 10
)

// add appends the next piece of a body of declared bytes; 0: unknown. It reports whether the piece fits the budget; a
// piece that does not fit is kept all the same.
func (b *body) add(piece []byte, declared int64) bool {
	size := b.size + int64(len(piece))
	if last := len(b.pieces) - 1; last >= 0 && cap(b.pieces[last])-len(b.pieces[last]) >= len(piece) {
		b.pieces[last] = append(b.pieces[last], piece...)
		b.size = size
		return true
	}
	switch {
	case len(b.pieces) > 0 && size <= declared && 2*size >= declared && b.join(declared):
		return b.add(piece, declared) // half of it is there, and now it has room for all
	case len(piece) < smallPiece && len(b.pieces) > 0:
		return b.appendPiece(append(make([]byte, 0, max(len(piece), int(min(b.size, block)))), piece...))
	}
	return b.appendPiece(slices.Clip(piece))
}

func (b *body) appendPiece(piece []byte) bool {
	more := int64(cap(piece)) + pieceOverhead
	fits := b.budget.reserve(more)
	if !fits {
		b.budget.charge(more)
	}
	b.pieces, b.size, b.held = append(b.pieces, piece), b.size+int64(len(piece)), b.held+more
	return fits
}

// join copies all pieces into one with room for that many bytes, if the budget allows it.
func (b *body) join(room int64) bool {
	if !b.budget.tryReserve(room + pieceOverhead) {
		return false
	}
	whole := make([]byte, 0, room)
	for _, piece := range b.pieces {
		whole = append(whole, piece...)
	}
	b.budget.charge(-b.held)
	b.pieces, b.held = [][]byte{whole}, room+pieceOverhead
	return true
}

// whole returns the body in one piece, nil if it is empty; false if the budget has no room for joining it.
func (b *body) whole() ([]byte, bool) {
	if len(b.pieces) > 1 && !b.join(b.size) {
		b.budget.refused.Add(1) // a budget that refuses is not nil
		return nil, false
	}
	if b.size == 0 {
		return nil, true
	}
	return slices.Clip(b.pieces[0]), true
}

// trySet replaces the body by a policy's, unless that does not fit.
func (b *body) trySet(whole []byte) bool {
	if !b.budget.reserve(int64(cap(whole))) {
		return false
	}
	b.replace(whole)
	return true
}

// set replaces the body by whole, even if it does not fit.
func (b *body) set(whole []byte) {
	b.budget.charge(int64(cap(whole)))
	b.replace(whole)
}

// replace gives back the memory of the body, in favour of whole, which is charged already.
func (b *body) replace(whole []byte) {
	b.drop()
	b.pieces, b.size, b.held = [][]byte{whole}, int64(len(whole)), int64(cap(whole))
}

// shift removes and returns the first piece, if there is one, and gives back its memory.
func (b *body) shift() ([]byte, bool) {
	if len(b.pieces) == 0 {
		return nil, false
	}
	piece := b.pieces[0]
	b.pieces[0], b.pieces = nil, b.pieces[1:]
	if len(b.pieces) == 0 {
		b.drop()
		return piece, true
	}
	freed := min(b.held, int64(cap(piece))+pieceOverhead)
	b.budget.charge(-freed)
	b.held, b.size = b.held-freed, b.size-int64(len(piece))
	return piece, true
}

// drop gives back the memory of the whole body.
func (b *body) drop() {
	b.budget.charge(-b.held)
	*b = body{budget: b.budget}
}
