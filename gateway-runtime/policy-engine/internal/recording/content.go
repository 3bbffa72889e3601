package recording

import (
	"bytes"
	"hash/maphash"
	"time"

	"gatewright.dev/policy-engine/internal/chain"
)

// content is the part of a body that is kept: its beginning, and enough to recognize the body again.
type content struct {
	data  []byte // the beginning
	size  int64
	whole bool // size is the whole length
	hash  uint64

	first  *byte // where the body's first piece was in memory: the same place means the same body, without reading it
	pieces int
}

var seed = maphash.MakeSeed()

// same reports whether both are the same bytes so far.
func (c *content) same(other *content) bool {
	if c == nil || other == nil {
		return c == other
	}
	return c == other || c.size == other.size && c.hash == other.hash && bytes.Equal(c.data, other.data)
}

// contentOf keeps the beginning of a body, and returns the previous content while the body is unchanged. nil: there is no body.
func (d *draft) contentOf(direction chain.Direction, body *chain.BodyView) *content {
	if len(body.Pieces) == 0 {
		return nil
	}
	var first *byte
	if len(body.Pieces[0]) > 0 {
		first = &body.Pieces[0][0]
	}
	if previous := d.held[direction]; previous != nil && previous.first == first && previous.pieces == len(body.Pieces) && previous.size == body.Size {
		previous.whole = body.Whole
		return previous
	}
	result := &content{size: body.Size, whole: body.Whole, first: first, pieces: len(body.Pieces)}
	var hash maphash.Hash
	hash.SetSeed(seed)
	result.data = make([]byte, 0, d.room(body.Size))
	for _, piece := range body.Pieces {
		_, _ = hash.Write(piece)
		result.data = append(result.data, piece[:min(len(piece), cap(result.data)-len(result.data))]...)
	}
	result.hash = hash.Sum64()
	d.held[direction] = result
	return result
}

// flow is the beginning of a body that passes piece by piece.
type flow struct {
	data []byte
	size int64
	rest bool          // more has passed that is not kept
	last time.Duration // when the last piece passed
}

func (d *draft) add(f *flow, piece []byte) {
	f.size, f.last = f.size+int64(len(piece)), d.since()
	room := d.settings.bodyBytes - len(f.data)
	if room <= 0 || f.size > int64(len(f.data)+len(piece)) { // full, or an earlier piece found no memory
		return
	}
	part := piece[:min(len(piece), room)]
	if free := cap(f.data) - len(f.data); free < len(part) {
		more := max(len(part), min(cap(f.data), d.settings.bodyBytes-cap(f.data)))
		if d.room(int64(more)) < more {
			return
		}
		f.data = append(make([]byte, 0, cap(f.data)+more), f.data...)
	}
	f.data = append(f.data, part...)
}

// room charges and returns the number of bytes to keep of a body of a given size.
func (d *draft) room(size int64) int {
	length := int(min(size, int64(d.settings.bodyBytes)))
	if length == 0 || !d.charge(int64(length)) {
		return 0
	}
	return length
}
