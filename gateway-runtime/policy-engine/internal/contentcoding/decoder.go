package contentcoding

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// What a body may be decoded to: any size up to BombFloor; beyond that, BombRatio bytes for each of its encoded ones.
const (
	BombFloor = 8 << 20
	BombRatio = 200
)

// pieceSize is the most that Decoder.Next gives at once.
const pieceSize = 32 << 10

// Error says what is wrong with an encoded body.
type Error struct{ message string }

func (e *Error) Error() string { return e.message }

// Decoder decodes a body that is pulled from a source. Use it from one goroutine at a time, and close it.
type Decoder struct {
	source source
	layers []*layer // in the order of decoding: the body's last coding first
	room   *[]byte  // decoded bytes on their way out
	err    error    // the first; Next returns it for ever
}

// NewDecoder makes a decoder of what next gives, which codings were applied to in this order. After the last piece next
// returns io.EOF; any other error of it becomes that of Next.
func NewDecoder(codings []Coding, next func() ([]byte, error)) *Decoder {
	d := &Decoder{source: source{next: next}, room: rooms.Get().(*[]byte)}
	var from io.Reader = &d.source
	for _, coding := range slices.Backward(codings) {
		one := &layer{coding: coding, encoded: &d.source.size, decoder: pools[coding].Get().(decoder)}
		one.decoder.reset(from)
		d.layers = append(d.layers, one)
		from = one
	}
	return d
}

// Next waits for the next decoded piece: never empty, and the caller's own. io.EOF follows the last one. An *Error says
// that the body cannot be decoded, or is a bomb; any other error comes from the source.
//
// All that can be decoded of what the source has given is given before the source is asked for more, as far as the
// encoder flushed it.
func (d *Decoder) Next() ([]byte, error) {
	if d.err != nil {
		return nil, d.err
	}
	last := d.layers[len(d.layers)-1]
	for {
		n, err := last.Read(*d.room)
		if err != nil {
			d.err = d.cause(err)
		}
		if n > 0 {
			return slices.Clone((*d.room)[:n]), nil
		}
		if err != nil {
			return nil, d.err
		}
	}
}

// cause is what Next says of a layer's error.
func (d *Decoder) cause(err error) error {
	switch {
	case d.source.err != nil && d.source.err != io.EOF: //nolint:errorlint // it is compared where it was made
		return d.source.err
	case d.source.size == 0: // the encoding of nothing, to many that write it
		return io.EOF
	}
	return err
}

// Held is about how many bytes of memory the decoder takes.
func (d *Decoder) Held() int64 {
	held := int64(pieceSize)
	for _, one := range d.layers {
		held += min(windows[one.coding], one.decoded) + fixedSize
	}
	return held
}

// Close gives back what decoders share. Next is not called after it.
func (d *Decoder) Close() {
	for _, one := range d.layers {
		one.decoder.reset(nil)
		pools[one.coding].Put(one.decoder)
	}
	if d.room != nil {
		rooms.Put(d.room)
	}
	d.layers, d.room = nil, nil
}

// source is the encoded body as a reader. It reads a piece when the one before it is used up.
type source struct {
	next  func() ([]byte, error)
	piece []byte
	size  int64 // bytes that have come
	err   error
}

func (s *source) Read(p []byte) (int, error) {
	for len(s.piece) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		s.piece, s.err = s.next()
		s.size += int64(len(s.piece))
	}
	n := copy(p, s.piece)
	s.piece = s.piece[n:]
	return n, nil
}

// layer takes one coding off, and counts.
type layer struct {
	coding  Coding
	decoder decoder
	encoded *int64 // bytes of the body so far, with all its codings
	decoded int64
}

func (l *layer) Read(p []byte) (int, error) {
	n, err := l.decoder.Read(p)
	if l.decoded += int64(n); l.decoded > BombFloor && l.decoded/BombRatio > *l.encoded {
		return 0, &Error{fmt.Sprintf("%s: expected at most %d times its encoded size beyond %d bytes, got more", l.coding, BombRatio, BombFloor)}
	}
	var told *Error
	switch {
	case err == nil, err == io.EOF, errors.As(err, &told): //nolint:errorlint // readers return io.EOF itself
		return n, err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return n, &Error{fmt.Sprintf("%s: expected more, got the end", l.coding)}
	}
	return n, &Error{fmt.Sprintf("%s: %v", l.coding, err)}
}
