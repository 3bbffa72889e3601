package contentcoding

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// Encoder encodes a body piece by piece. Use it from one goroutine at a time, and close it.
type Encoder struct {
	out     bytes.Buffer
	codings []Coding
	writers []writer // in the order of the codings; each writes to the next one
}

// writer applies one coding.
type writer interface {
	io.WriteCloser
	Flush() error
	Reset(to io.Writer)
}

// The levels at which encoding a body costs about as much as decoding it; see docs/decisions/0038.
const (
	gzipLevel    = gzip.BestSpeed
	brotliLevel  = 1
	brotliWindow = 18 // 2^18 bytes: 256 KiB
	zstdWindow   = 256 << 10
)

var writers = [...]*sync.Pool{
	Gzip:    {New: func() any { return mustMake(gzip.NewWriterLevel(nil, gzipLevel)) }},
	Deflate: {New: func() any { return mustMake(zlib.NewWriterLevel(nil, gzipLevel)) }},
	Brotli: {New: func() any {
		return brotli.NewWriterOptions(nil, brotli.WriterOptions{Quality: brotliLevel, LGWin: brotliWindow})
	}},
	Zstd: {New: func() any {
		return mustMake(zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(zstdWindow), zstd.WithZeroFrames(true)))
	}},
}

// mustMake returns a writer with constant settings: an error is a bug that every test would find.
func mustMake(w writer, err error) writer {
	if err != nil {
		panic(err)
	}
	return w
}

// NewEncoder makes an encoder that applies codings in this order.
func NewEncoder(codings []Coding) *Encoder {
	e := &Encoder{codings: codings, writers: make([]writer, len(codings))}
	var to io.Writer = &e.out
	for n := len(codings) - 1; n >= 0; n-- {
		e.writers[n] = writers[codings[n]].Get().(writer)
		e.writers[n].Reset(to)
		to = e.writers[n]
	}
	return e
}

// Encode encodes the next piece. The result is the caller's own, and decodes to everything so far; after the last piece
// it is the end of the body.
func (e *Encoder) Encode(piece []byte, last bool) []byte {
	var err error
	if len(piece) > 0 {
		_, err = e.writers[0].Write(piece)
	}
	for _, w := range e.writers {
		if last {
			err = errors.Join(err, w.Close())
		} else {
			err = errors.Join(err, w.Flush())
		}
	}
	if err != nil {
		panic(err) // writes to memory with constant settings do not fail
	}
	encoded := bytes.Clone(e.out.Bytes())
	e.out.Reset()
	return encoded
}

// Close returns the shared writers. Encode must not be called after it.
func (e *Encoder) Close() {
	for n, w := range e.writers {
		w.Reset(io.Discard)
		writers[e.codings[n]].Put(w)
	}
	e.writers = nil
}
