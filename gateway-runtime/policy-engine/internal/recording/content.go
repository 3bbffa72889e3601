package recording

import (
	"bytes"
	"hash/maphash"
	"time"

	"gatewright.dev/policy-engine/internal/chain"
)

// content is what is kept of a body that the engine holds: its beginning, and enough to know it again.
type content struct {
	data  []byte // the beginning
	size  int64
	whole bool // there is no more than size says
	hash  uint64

	first  *byte // where it was held, to see without reading it that it is the same still
	pieces int
}

var seed = maphash.MakeSeed()

// same reports whether both are the same bytes, as far as they have come.
func (c *content) same(other *content) bool {
	if c == nil || other == nil {
		return c == other
	}
	return c == other || c.size == other.size && c.hash == other.hash && bytes.Equal(c.data, other.data)
}

// contentOf keeps the beginning of a body, once as long as it stays the same. nil: there is no body.
func (d *draft) contentOf(direction chain.Direction, body *chain.BodyView) *content {
	if len(body.Pieces) == 0 {
		return nil
	}
	var first *byte
	if len(body.Pieces[0]) > 0 {
		first = &body.Pieces[0][0]
	}
	if last := d.held[direction]; last != nil && last.first == first && last.pieces == len(body.Pieces) && last.size == body.Size {
		last.whole = body.Whole
		return last
	}
	kept := &content{size: body.Size, whole: body.Whole, first: first, pieces: len(body.Pieces)}
	var hash maphash.Hash
	hash.SetSeed(seed)
	kept.data = make([]byte, 0, d.room(body.Size))
	for _, piece := range body.Pieces {
		_, _ = hash.Write(piece)
		kept.data = append(kept.data, piece[:min(len(piece), cap(kept.data)-len(kept.data))]...)
	}
	kept.hash = hash.Sum64()
	d.held[direction] = kept
	return kept
}

// flow is what is kept of a body that passes piece by piece: its beginning.
type flow struct {
	data []byte
	size int64
	rest bool          // more has passed by, of which nothing is known
	last time.Duration // when the last piece has passed
}

func (d *draft) add(f *flow, piece []byte) {
	f.size, f.last = f.size+int64(len(piece)), d.since()
	room := d.settings.bodyBytes - len(f.data)
	if room <= 0 || f.size > int64(len(f.data)+len(piece)) { // full, or there was no memory for a piece before
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

// room is how many bytes of a body so large may be kept. They are charged.
func (d *draft) room(size int64) int {
	wanted := int(min(size, int64(d.settings.bodyBytes)))
	if wanted == 0 || !d.charge(int64(wanted)) {
		return 0
	}
	return wanted
}
