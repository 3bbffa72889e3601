package contentcoding

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// The limits of a decoded body: any size up to BombFloor; beyond that, BombRatio bytes for each encoded byte.
const (
	BombFloor = 8 << 20
	BombRatio = 200
)

// pieceSize is the largest result of Decoder.Next.
const pieceSize = 32 << 10

// Error describes an invalid encoded body.
type Error struct{ message string }

func (e *Error) Error() string { return e.message }

// Decoder decodes a body that it pulls from a source. Use it from one goroutine at a time, and close it.
type Decoder struct {
	source source
	layers []*layer // in the order of decoding: the body's last coding first
	buffer *[]byte  // decoded bytes on their way out
	err    error    // the first; later calls of Next return it too
}

// NewDecoder makes a decoder of the pieces that next returns, to which codings were applied in this order. After the
// last piece next returns io.EOF; any other error becomes the error of Next.
func NewDecoder(codings []Coding, next func() ([]byte, error)) *Decoder {
	d := &Decoder{source: source{next: next}, buffer: buffers.Get().(*[]byte)}
	var from io.Reader = &d.source
	for _, coding := range slices.Backward(codings) {
		added := &layer{coding: coding, encoded: &d.source.size, decoder: pools[coding].Get().(decoder)}
		added.decoder.reset(from)
		d.layers = append(d.layers, added)
		from = added
	}
	return d
}

// Next waits for the next decoded piece: never empty, and the caller's own. io.EOF follows the last one. An *Error: the
// body cannot be decoded, or is a bomb; any other error comes from the source.
//
// All data that can be decoded from the pieces so far, as far as the encoder flushed it, is returned before the next
// piece is requested.
func (d *Decoder) Next() ([]byte, error) {
	if d.err != nil {
		return nil, d.err
	}
	last := d.layers[len(d.layers)-1]
	for {
		n, err := last.Read(*d.buffer)
		if err != nil {
			d.err = d.cause(err)
		}
		if n > 0 {
			return slices.Clone((*d.buffer)[:n]), nil
		}
		if err != nil {
			return nil, d.err
		}
	}
}

// cause turns a layer's error into the error of Next.
func (d *Decoder) cause(err error) error {
	switch {
	case d.source.err != nil && d.source.err != io.EOF: //nolint:errorlint // the source returns io.EOF itself
		return d.source.err
	case d.source.size == 0: // many senders encode an empty body as no bytes
		return io.EOF
	}
	return err
}

// Held is the approximate memory of the decoder, in bytes.
func (d *Decoder) Held() int64 {
	held := int64(pieceSize)
	for _, layer := range d.layers {
		held += min(windows[layer.coding], layer.decoded) + fixedSize
	}
	return held
}

// Close returns the shared buffers and decoders. Next must not be called after it.
func (d *Decoder) Close() {
	for _, layer := range d.layers {
		layer.decoder.reset(nil)
		pools[layer.coding].Put(layer.decoder)
	}
	if d.buffer != nil {
		buffers.Put(d.buffer)
	}
	d.layers, d.buffer = nil, nil
}

// source is the encoded body as a reader. It requests a piece when the one before is used up.
type source struct {
	next  func() ([]byte, error)
	piece []byte
	size  int64 // bytes received
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

// layer removes one coding, and counts.
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
	var known *Error
	switch {
	case err == nil, err == io.EOF, errors.As(err, &known): //nolint:errorlint // readers return io.EOF itself
		return n, err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return n, &Error{fmt.Sprintf("%s: expected more, got the end", l.coding)}
	}
	return n, &Error{fmt.Sprintf("%s: %v", l.coding, err)}
}
